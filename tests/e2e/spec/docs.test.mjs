// The API reference in a real browser: every operation is there, in light and in dark, no request leaves the server that
// the page came from, and a request can be tried with a token. Its pictures are left in tests/e2e/screenshots.
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { startWorld } from "../browser/harness.js";
import { command, startServer } from "../server.js";

const FOLDER = fileURLToPath(new URL("../screenshots/", import.meta.url));
const settings = { TIDEMARK_AUTH_SECRET: "a secret of tests, nobody else has it" };

let world;
before(async () => {
  world = await startWorld(() => startServer({ settings }));
  await mkdir(FOLDER, { recursive: true });
});
after(() => world?.stop());

/** The reference in a profile of its own. When the test ends, the page must have asked nobody else and complained of nothing else. */
async function openDocs(t, { expected = [], ...options } = {}) {
  const context = await world.browser.newContext({ viewport: { width: 1400, height: 900 }, reducedMotion: "reduce", ...options });
  const page = await context.newPage();
  const requests = [];
  const complaints = [];
  page.on("request", (request) => requests.push(request.url()));
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    // Scalar's validator tries whether it may eval, may not, and does without.
    const known = [/'script-src' was not explicitly set/, ...expected];
    if (message.type() === "error" && !known.some((pattern) => pattern.test(message.text()))) complaints.push(message.text());
  });
  t.after(async () => {
    await context.close();
    assert.deepEqual(requests.filter((url) => !/^(data|blob):/.test(url) && new URL(url).origin !== world.origin), []);
    assert.ok(requests.includes(`${world.origin}/openapi.yaml`));
    assert.deepEqual(complaints, []);
  });
  await page.goto(`${world.origin}/docs`);
  const menu = page.getByRole("complementary").first();
  await menu.getByText("Push edits").waitFor();
  return { page, menu };
}

for (const colorScheme of ["light", "dark"]) {
  test(`every operation is shown, in ${colorScheme}`, { timeout: 120_000 }, async (t) => {
    const spec = await (await fetch(`${world.origin}/openapi.yaml`)).text();
    const summaries = [...spec.matchAll(/operationId: .*\n(?: .*\n)*? {6}summary: (.*)\n/g)].map((m) => m[1]);
    assert.equal(summaries.length, spec.match(/operationId: /g).length);

    const { page, menu } = await openDocs(t, { colorScheme });
    // The first is open already.
    const [, ...tags] = [.../^tags:\n((?: .*\n)+)/m.exec(spec)[1].matchAll(/^ {2}- name: (.*)$/gm)].map((m) => m[1]);
    for (const tag of tags) {
      await menu.getByText(tag, { exact: true }).first().click();
    }
    for (const summary of summaries) {
      await menu.getByText(summary, { exact: true }).first().waitFor();
    }

    // An operation in full.
    await menu.getByText("Push edits").click();
    await page.getByText("all or nothing").first().waitFor();
    await page.getByRole("button", { name: /Test Request.*\/push/ }).waitFor();
    const [red, green, blue] = await page.evaluate(() =>
      getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number),
    );
    assert.equal((red + green + blue) / 3 > 128, colorScheme === "light", "the background follows the system");
    await page.mouse.move(0, 0);
    await page.screenshot({ path: `${FOLDER}docs-${colorScheme}.png`, animations: "disabled", caret: "hide" });
  });
}

test("a request is tried from the page: refused without a token, answered with one", { timeout: 120_000 }, async (t) => {
  const token = (await command(["token", "--space", "home=rw", "--subject", "ada"], settings)).trim();
  const put = await fetch(`${world.origin}/v1/spaces/home/documents/todos/t1`, {
    method: "PUT",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json", "If-None-Match": "*" },
    body: JSON.stringify({ title: "Oat milk, and coffee" }),
  });
  assert.equal(put.status, 201);

  const { page, menu } = await openDocs(t, { expected: [/status of 401/] });
  await menu.getByText("Pull changes", { exact: true }).first().click();
  await page.getByRole("button", { name: /Test Request.*\/changes/ }).click();
  const dialog = page.getByRole("dialog").first();
  await dialog.getByRole("row", { name: "Include space in request" }).getByRole("combobox", { name: "Value" }).fill("home");
  // What the description gives as examples is of another server.
  const query = dialog.getByRole("region", { name: "Query Parameters" });
  for (const name of ["cursor", "limit", "wait", "collections", "min_version"]) {
    await query.getByRole("checkbox", { name: `Include ${name} in request` }).uncheck({ force: true }); // its picture is above it
  }
  const send = dialog.getByRole("button", { name: /^Send get request/ });
  const answer = dialog.getByRole("region", { name: "Response", exact: true });

  await send.click();
  await answer.getByRole("link", { name: "401 Unauthorized" }).waitFor();
  await dialog.getByRole("textbox", { name: "Bearer Token" }).fill(token);
  await send.click();
  await answer.getByRole("link", { name: "200 OK" }).waitFor();
  await answer.getByText("Oat milk, and coffee").waitFor();
});
