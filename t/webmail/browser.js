// A browser for the tests: Debian's chromium driven by playwright-core. Reads one JSON object a line, {"step": name, "args": {…}}, and answers each
// with one, {"value": …} or {"error": …}. The steps do what a user does; where a button hides behind a menu, they give its command.
"use strict";
const readline = require("readline");
const { chromium } = require(process.env.PLAYWRIGHT);

const BASE = "https://mail.example.com/";
const SHOTS = process.env.SHOTS;
let browser, context, page;
let asked = [];

const quiet = (p = page) => p.waitForFunction(() => window.rcmail && !rcmail.busy && document.readyState === "complete", null, { polling: 50 });
// Roundcube takes its "The list is empty" away a moment after the rows came.
const shot = async name => {
	await page.waitForFunction(() => ![...document.querySelectorAll(".listing-info:not(.hidden)")].some(i => i.offsetParent && i.previousElementSibling.querySelector("tr.message")));
	await page.screenshot({ path: `${SHOTS}/${name}.png` });
};
const frame = () => page.frameLocator("#messagecontframe");
const command = (name, arg) => page.evaluate(([n, a]) => rcmail.command(n, a === undefined ? "" : a), [name, arg]);

// Wait for the answer to what is done meanwhile.
async function answered(action, what) {
	const reply = page.waitForResponse(r => r.url().includes(what || "_action="));
	await action();
	await reply;
	await quiet();
}

const row = subject => page.locator("#messagelist tbody tr.message", { has: page.getByText(subject, { exact: true }) }).first();

const rows = () => page.evaluate(() => [...document.querySelectorAll("#messagelist tbody tr.message")].filter(tr => tr.offsetParent).map(tr => ({
	subject: (tr.querySelector("td.subject span.subject a") || {}).textContent?.trim(),
	from: (tr.querySelector("td.subject span.fromto") || {}).textContent?.trim(),
	unread: tr.classList.contains("unread"),
	flagged: tr.classList.contains("flagged"),
	attachment: !!tr.querySelector("span.attachment span"),
	child: ((rcmail.message_list.rows[tr.uid] || {}).depth || 0) > 0,
})));

async function recipient(box, address) {
	const input = page.locator(`#compose_${box} .recipient-input input`);
	await input.fill(address);
	await input.press("Enter");
}

async function fill(a) {
	for (const to of a.to || [])
		await recipient("to", to);
	if (a.subject !== undefined)
		await page.fill("#compose-subject", a.subject);
	if (a.body !== undefined)
		await page.fill("#composebody", a.body);
	if (a.files) {
		await page.setInputFiles("#compose-attachments input[type=file], #uploadform input[type=file], input[name='_attachments[]']", a.files);
		await page.waitForFunction(n => document.querySelectorAll("#attachment-list li:not(.uploading)").length === n, a.files.length);
		await quiet();
	}
}

async function sent() {
	await Promise.all([page.waitForURL(/_task=mail(?!.*_action=compose)/), command("send")]);
	await quiet();
}

async function saved() {
	await command("savedraft");
	await page.locator("#messagestack .confirmation").first().waitFor();
	await quiet();
}

// The form of a folder's properties, and its frame.
async function properties(name) {
	await page.frameLocator("#preferences-frame").locator("input[name=_name]").waitFor();
	await quiet();
	if (name !== undefined)
		await page.frameLocator("#preferences-frame").locator("input[name=_name]").fill(name);
	return page.frames().find(f => f.name() === "preferences-frame");
}

async function save_properties(f, name) {
	await f.evaluate(() => rcmail.command("save"));
	await page.waitForFunction(n => document.querySelector("#subscription-table").innerText.includes(n), name);
	await quiet();
}

const steps = {
	// With the cookies of an earlier login, when they are given.
	async open({ width, height, mobile, cookies }) {
		if (context)
			await context.close();
		context = await browser.newContext({ viewport: { width, height }, isMobile: !!mobile, hasTouch: !!mobile, ignoreHTTPSErrors: true, locale: "en-US",
			acceptDownloads: true });
		if (cookies)
			await context.addCookies(cookies);
		page = await context.newPage();
		page.setDefaultTimeout(60000);
		asked = [];
		context.on("request", r => asked.push(r.url()));
	},
	async login({ user, password }) {
		await page.goto(BASE);
		await page.fill("#rcmloginuser", user);
		await page.fill("#rcmloginpwd", password);
		await page.click("#rcmloginsubmit");
		await page.waitForSelector("#messagelist, #messagestack .error, #messagestack .warning", { state: "attached" });
		await quiet();
		const said = page.locator("#messagestack .error, #messagestack .warning");
		return (await said.count()) ? { ok: false, said: await said.first().innerText() } : { ok: true, url: page.url() };
	},
	cookies: () => context.cookies(),
	shot: ({ name }) => shot(name),
	async folder({ name }) {
		if (!(await page.locator("#mailboxlist").count()) || !/_task=mail/.test(page.url()) || /_action=/.test(page.url())) {
			await page.goto(BASE + "?_task=mail");
			await quiet();
		}
		const start = Date.now();
		await answered(() => page.evaluate(m => rcmail.list_mailbox(m), name), "_action=list");
		return { ms: Date.now() - start, rows: await rows(), count: await page.evaluate(() => rcmail.env.messagecount) };
	},
	folders: () => page.evaluate(() => [...document.querySelectorAll("#mailboxlist li")].map(li => ({ name: li.querySelector("a").getAttribute("rel"), classes: li.className }))),
	async command({ name, arg, url }) {
		const start = Date.now();
		await answered(() => command(name, arg), url);
		return { ms: Date.now() - start, rows: await rows(), count: await page.evaluate(() => rcmail.env.messagecount), page: await page.evaluate(() => rcmail.env.current_page) };
	},
	async sort({ column, order, threads }) {
		const start = Date.now();
		await answered(() => page.evaluate(([c, o, t]) => rcmail.set_list_options(null, c, o, t, rcmail.env.layout), [column, order, threads ? 1 : 0]), "_action=list");
		return { ms: Date.now() - start, rows: await rows(), count: await page.evaluate(() => rcmail.env.messagecount) };
	},
	async expand() {
		await page.evaluate(() => rcmail.command("expand-all"));
		await quiet();
		return rows();
	},
	async read({ subject, full }) {
		await row(subject).locator("td.subject").click();
		await frame().locator("#message-header .subject", { hasText: subject }).waitFor();
		await frame().locator("#messagebody").waitFor();
		const f = page.frame({ url: /_action=(preview|show)/ });
		await f.waitForLoadState();
		return f.evaluate(() => ({
			subject: document.querySelector("#message-header .subject").innerText.trim(),
			header: document.querySelector("#message-header").innerText,
			text: document.querySelector("#messagebody").innerText,
			html: document.querySelector("#messagebody").innerHTML,
			files: [...document.querySelectorAll("#attachment-list li")].map(li => li.innerText.trim()),
			remote: !!document.querySelector("#remote-objects-message") && document.querySelector("#remote-objects-message").style.display !== "none",
			pwned: !!(window.pwned || window.parent.pwned),
		}));
	},
	async show_images() {
		const f = page.frame({ url: /_action=(preview|show)/ });
		await f.locator("#remote-objects-message .boxbuttons a, #remote-objects-message a, #remote-objects-message button").first().click();
		await frame().locator("#messagebody img[src*='tracker']").waitFor({ state: "attached" });
	},
	async download({ path, index }) {
		const f = page.frame({ url: /_action=(preview|show)/ });
		const link = f.locator("#attachment-list li").nth(index || 0).locator("a.filename, a").first();
		const href = await link.getAttribute("href");
		const r = await context.request.get(new URL(href, BASE).toString() + "&_download=1", { ignoreHTTPSErrors: true });
		require("fs").writeFileSync(path, await r.body());
		return { status: r.status(), type: r.headers()["content-type"], disposition: r.headers()["content-disposition"] };
	},
	async compose(a) {
		await page.goto(BASE + "?_task=mail&_action=compose");
		await page.waitForSelector("#composebody");
		await quiet();
		await fill(a);
		if (a.shot)
			await shot(a.shot);
		if (a.send)
			await sent();
	},
	async reply({ subject, body, all, shot: name }) {
		await row(subject).locator("td.subject").click();
		await frame().locator("#messagebody").waitFor();
		await quiet();
		await Promise.all([page.waitForURL(/_action=compose/), command(all ? "reply-all" : "reply")]);
		await page.waitForSelector("#composebody");
		await quiet();
		const made = await page.evaluate(() => ({ subject: document.querySelector("#compose-subject").value, body: document.querySelector("#composebody").value }));
		await page.fill("#composebody", body + "\n" + made.body);
		if (name)
			await shot(name);
		await sent();
		return made;
	},
	async savedraft() {
		await saved();
	},
	async opendraft({ subject, body, send }) {
		await Promise.all([page.waitForURL(/_action=compose/), row(subject).locator("td.subject").dblclick()]);
		await page.waitForSelector("#composebody");
		await quiet();
		const had = await page.inputValue("#composebody");
		await page.fill("#composebody", body);
		if (send)
			await sent();
		else
			await saved();
		return had;
	},
	async search({ text, where }) {
		const start = Date.now();
		await page.evaluate(w => {
			for (const box of document.querySelectorAll("input[name='s_mods[]']"))
				box.checked = w.includes(box.value);
			rcmail.env.search_mods = { "*": Object.fromEntries(w.map(k => [k, 1])) };
		}, where || ["subject", "from"]);
		await answered(async () => {
			await page.fill("#mailsearchform", text);
			await page.evaluate(() => rcmail.command("search"));
		}, "_action=search");
		return { ms: Date.now() - start, rows: await rows(), count: await page.evaluate(() => rcmail.env.messagecount) };
	},
	async unsearch() {
		await answered(() => page.evaluate(() => rcmail.command("reset-search")), "_action=");
	},
	// Two quick clicks on one row would be a double one: the list's own words.
	async select({ subjects }) {
		await page.evaluate(wanted => {
			rcmail.message_list.clear_selection();
			for (const tr of document.querySelectorAll("#messagelist tbody tr.message"))
				if (tr.offsetParent && wanted.includes(tr.querySelector("td.subject span.subject a").textContent.trim()))
					rcmail.message_list.highlight_row(tr.uid, true);
			rcmail.message_list.triggerEvent("select");
		}, subjects);
		await quiet();
	},
	async mark({ flag }) {
		await answered(() => command("mark", flag), "_action=mark");
		return rows();
	},
	async move({ to }) {
		await answered(() => page.evaluate(m => rcmail.move_messages(m), to), "_action=move");
		return rows();
	},
	async key({ key, url }) {
		await answered(() => page.keyboard.press(key), url);
		return rows();
	},
	async folder_new({ name, parent }) {
		await page.goto(BASE + "?_task=settings&_action=folders");
		await quiet();
		await command("create-folder");
		const f = await properties(name);
		if (parent)
			await f.selectOption("select[name=_parent]", parent);
		await save_properties(f, name);
	},
	async folder_rename({ from, to }) {
		await page.goto(BASE + "?_task=settings&_action=folders");
		await quiet();
		await page.locator("#subscription-table li", { hasText: from }).last().locator("a").first().click();
		await save_properties(await properties(to), to);
	},
	async folder_delete({ name }) {
		await page.goto(BASE + "?_task=settings&_action=folders");
		await quiet();
		await page.locator("#subscription-table li", { hasText: name }).last().locator("a").first().click();
		await properties();
		await command("delete-folder");
		await page.locator(".ui-dialog button.delete, .ui-dialog button.mainaction").first().click();
		await page.waitForFunction(n => !document.querySelector("#subscription-table").innerText.includes(n), name);
		await quiet();
	},
	async refresh() {
		await answered(() => command("checkmail"), "_action=");
		return rows();
	},
	async tap({ subject }) {
		await row(subject).locator("td.subject").tap();
		await frame().locator("#messagebody").waitFor();
		await page.waitForTimeout(300);
		return frame().locator("#messagebody").innerText();
	},
	overflow: () => page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth),
	async logout() {
		const cookies = await context.cookies();
		await page.evaluate(() => rcmail.command("switch-task", "logout"));
		await page.waitForSelector("#rcmloginuser");
		// Who kept the cookies is no longer let in.
		await context.clearCookies();
		await context.addCookies(cookies);
		await page.goto(BASE + "?_task=mail");
		return { login: !!(await page.locator("#rcmloginuser").count()) };
	},
	asked: () => asked.filter(u => !u.startsWith(BASE) && !/^(data|blob|about):/.test(u)),
};

async function main() {
	browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-proxy-server"] });
	for await (const line of readline.createInterface({ input: process.stdin })) {
		const { step, args } = JSON.parse(line);
		let out;
		try {
			out = { value: await steps[step](args) ?? null };
		} catch (e) {
			out = { error: String(e.stack || e) };
			try { await shot("failed"); } catch { /* there may be no page yet */ }
		}
		process.stdout.write(JSON.stringify(out) + "\n");
	}
	await browser.close();
}

process.on("unhandledRejection", () => {});	// of a wait whose step has failed already
main().catch(e => { process.stderr.write(String(e.stack || e) + "\n"); process.exit(1); });
