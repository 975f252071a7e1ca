// The demo page as a person sees it: lists, lines, cards. Everything waits for a condition.

import { PATIENCE } from '../server.js';

/** Opens the demo on a space and waits until both panes show `count` to-dos that the server has. */
export async function openBoard(profile, space, count = 4) {
  const page = await profile.newPage();
  await page.goto(`/?space=${space}`);
  await settled(page, count);
  return page;
}

/** Waits until both panes show the same `count` to-dos and nothing waits to be sent. */
export async function settled(page, count) {
  await until(page, (n) => {
    const list = (who) => [...document.querySelectorAll(`#${who} .todo`)].map((line) => [
      line.dataset.id, line.querySelector('.title').value, line.querySelector('.tick input').checked,
    ]);
    return document.querySelectorAll('.pane').length === 2
      && document.querySelectorAll('.todo[data-pending], .conflict').length === 0
      && list('alice').length === n && JSON.stringify(list('alice')) === JSON.stringify(list('bob'));
  }, count);
}

/** Waits until the function, run in the page, gives something true. */
export const until = (page, condition, argument) => page.waitForFunction(condition, argument, { timeout: PATIENCE });

/** What one person's list shows, top to bottom. */
export const list = (page, who) => page.locator(`#${who} .todo`).evaluateAll((lines) => lines.map((line) => ({
  title: line.querySelector('.title').value,
  done: line.querySelector('.tick input').checked,
  pending: 'pending' in line.dataset,
})));

export const titles = async (page, who) => (await list(page, who)).map((line) => line.title);

/** The line with that title in that person's list, as soon as there is one. */
export async function line(page, who, title) {
  const found = await until(page, ([pane, wanted]) => {
    const input = [...document.querySelectorAll(`#${pane} .title`)].find(({ value }) => value === wanted);
    return input?.closest('.todo').dataset.id;
  }, [who, title]);
  return page.locator(`#${who} .todo[data-id="${await found.jsonValue()}"]`);
}

export async function add(page, who, title) {
  await page.locator(`#${who} .add input`).fill(title);
  await page.keyboard.press('Enter');
}

export async function rename(page, who, from, to) {
  const input = (await line(page, who, from)).locator('.title');
  await input.fill(to);
  await input.press('Enter');
}

export async function tick(page, who, title) {
  await (await line(page, who, title)).locator('.tick input').click();
}

export async function setOffline(page, who, offline) {
  await page.locator(`#${who} .switch input`).setChecked(offline);
}

/** Waits until the line under the name says this. */
export const state = (page, who, text) => until(page, ([pane, wanted]) => document.querySelector(`#${pane} .state`).textContent === wanted, [who, text]);

/** Waits until the page lies on a light or a dark ground. */
export const ground = (page, tone) => until(page, (wanted) => {
  const [red, green, blue] = getComputedStyle(document.documentElement).backgroundColor.match(/\d+/g).map(Number);
  return wanted === (red + green + blue > 384 ? 'light' : 'dark');
}, tone);

/** The rows of the request timeline, newest first. */
export const requests = (page) => page.locator('#timeline tr').evaluateAll((rows) => rows.map((row) => {
  const [, who, what, status, carried] = [...row.cells].map((cell) => cell.textContent);
  return { who, what, status, carried };
}));
