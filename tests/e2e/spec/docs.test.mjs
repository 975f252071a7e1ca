// The API reference in a real browser: every operation is there, in light and
// in dark, and no request leaves the server that the page came from.
// TIDEMARK_URL names a running server; CHROMIUM the browser, if it is not in PATH.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const origin = new URL(process.env.TIDEMARK_URL ?? assert.fail("TIDEMARK_URL must name a running server")).origin;

let browser;
before(async () => {
  browser = await chromium.launch({ executablePath: findChromium(), args: ["--no-sandbox"] });
});
after(() => browser?.close());

function findChromium() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
    try {
      return execFileSync("which", [name], { encoding: "utf8" }).trim();
    } catch {
      // not this one
    }
  }
  return assert.fail("no Chromium in PATH; install it or set CHROMIUM");
}

for (const colorScheme of ["light", "dark"]) {
  test(`every operation is shown, in ${colorScheme}, and nothing leaves the origin`, { timeout: 120_000 }, async (t) => {
    const spec = await (await fetch(`${origin}/openapi.yaml`)).text();
    const summaries = [...spec.matchAll(/operationId: .*\n(?: .*\n)*? {6}summary: (.*)\n/g)].map((m) => m[1]);
    assert.equal(summaries.length, spec.match(/operationId: /g).length);

    const context = await browser.newContext({ colorScheme, viewport: { width: 1400, height: 900 } });
    t.after(() => context.close());
    const page = await context.newPage();
    const requests = [];
    const complaints = [];
    page.on("request", (request) => requests.push(request.url()));
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("console", (message) => {
      // Scalar's validator tries whether it may eval, may not, and does without.
      const triedEval = message.text().includes("'script-src' was not explicitly set");
      if (message.type() === "error" && !triedEval) complaints.push(message.text());
    });

    await page.goto(`${origin}/docs`);
    const menu = page.getByRole("complementary").first();
    await menu.getByText("Push edits").waitFor();
    // The first is open already.
    const [, ...tags] = [.../^tags:\n((?: .*\n)+)/m.exec(spec)[1].matchAll(/^ {2}- name: (.*)$/gm)].map((m) => m[1]);
    for (const tag of tags) {
      await menu.getByText(tag, { exact: true }).first().click();
    }
    for (const summary of summaries) {
      await menu.getByText(summary, { exact: true }).first().waitFor();
    }

    // An operation in full, and the form that sends it.
    await menu.getByText("Push edits").click();
    await page.getByText("all or nothing").first().waitFor();
    await page.getByRole("button", { name: /Test Request/ }).first().click();
    await page.getByRole("dialog").first().waitFor();

    const [red, green, blue] = await page.evaluate(() =>
      getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number),
    );
    assert.equal((red + green + blue) / 3 > 128, colorScheme === "light", "the background follows the system");

    assert.deepEqual(requests.filter((url) => !/^(data|blob):/.test(url) && new URL(url).origin !== origin), []);
    assert.ok(requests.includes(`${origin}/openapi.yaml`));
    assert.deepEqual(complaints, []);
  });
}
