// Pictures of a page on screens of several widths: argv FILE DIRECTORY; prints {"name": {"inside": width of the window, "wide": width that the page needs}, …}.
"use strict";
const { chromium } = require(process.env.PLAYWRIGHT);
const [file, directory] = process.argv.slice(2);
const SCREENS = [["wide", 1280, 800, "light"], ["narrow", 390, 844, "light"], ["dark", 1280, 800, "dark"]];

async function main() {
	const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-proxy-server"] });
	const found = {};
	for (const [name, width, height, colorScheme] of SCREENS) {
		const page = await browser.newPage({ viewport: { width, height }, colorScheme });
		await page.goto("file://" + file);
		await page.screenshot({ path: `${directory}/${name}.png`, fullPage: true });
		found[name] = await page.evaluate(() => ({
			inside: window.innerWidth,
			wide: document.documentElement.scrollWidth,
			background: getComputedStyle(document.body).backgroundColor,
		}));
		await page.close();
	}
	await browser.close();
	console.log(JSON.stringify(found));
}

main().catch((e) => {
	console.error(e);
	process.exit(1);
});
