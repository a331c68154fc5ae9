/** Chromium, and pages that write down everything they should not do. */
import { chromium, type Browser, type BrowserContext, type BrowserContextOptions, type Page } from "playwright-core";
import { expect } from "vitest";

import { CHROMIUM, DASHBOARD } from "./rig";

const ARGUMENTS = ["--disable-gpu", "--enable-precise-memory-info"];

export function launch(): Promise<Browser> {
  const asRoot = process.getuid?.() === 0; // its sandbox refuses to run as root
  return chromium.launch({ executablePath: CHROMIUM, args: asRoot ? [...ARGUMENTS, "--no-sandbox"] : ARGUMENTS });
}

export interface Watched {
  context: BrowserContext;
  page: Page;
  /** Errors and warnings of the console, uncaught errors, broken rules of the content policy, requests to elsewhere. */
  complaints: string[];
}

/** Open an address behind the # in a fresh profile; `prepare` is done before it is asked for. */
export async function open(
  browser: Browser,
  hash: string,
  options: BrowserContextOptions = {},
  prepare: (page: Page) => Promise<void> = () => Promise.resolve(),
): Promise<Watched> {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const complaints: string[] = [];
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      console.error(`content policy: ${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  const page = await context.newPage();
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => complaints.push(`uncaught: ${error.message}`));
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== DASHBOARD) complaints.push(`elsewhere: ${request.url()}`);
  });
  await prepare(page);
  await page.goto(`${DASHBOARD}/#/${hash}`);
  return { context, page, complaints };
}

/** Wait until nothing is loading any more, and something is shown. */
export async function settled(page: Page): Promise<void> {
  await page.locator("main .card").first().waitFor();
  await expect.poll(() => page.locator(".spinner").count(), { timeout: 20_000 }).toBe(0);
}

/** Return the text of the page as a reader sees it, in one line. */
export async function textOf(page: Page, where = "main"): Promise<string> {
  return (await page.locator(where).first().innerText()).replace(/\s+/g, " ");
}
