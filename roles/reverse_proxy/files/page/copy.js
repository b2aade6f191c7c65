// Buttons that copy, and texts that can be copied.
import { announce, el, icon } from './dom.js';
import { shortDigest } from './format.js';
import { isDigest } from './shape.js';
import { name, plain } from './text.js';

async function put(text) {
	try {
		await navigator.clipboard.writeText(text);
		return true;
	} catch {
		return false;
	}
}

export function copyButton(text, what) {
	const button = el('button', { type: 'button', class: 'copy', 'aria-label': `Copy ${plain(what, 120)}`, title: `Copy ${plain(what, 120)}` }, icon('copy'));
	let back = 0;
	button.addEventListener('click', async (event) => {
		event.preventDefault();
		event.stopPropagation();
		const copied = await put(text);
		button.replaceChildren(icon(copied ? 'done' : 'bad'));
		button.classList.toggle('copied', copied);
		announce(copied ? `Copied ${plain(what, 120)}` : 'The browser did not allow copying. Select the text instead.', true);
		clearTimeout(back);
		back = setTimeout(() => {
			button.replaceChildren(icon('copy'));
			button.classList.remove('copied');
		}, 1500);
	});
	return button;
}

export function command(text, what) {
	return el('div.command', el('code', text), copyButton(text, what));
}

export function digestShort(digest) {
	if (!isDigest(digest)) return el('span.digest', name(digest, 40));
	return el('span.digest', el('code', { title: digest }, shortDigest(digest)), copyButton(digest, `digest ${shortDigest(digest)}`));
}

export function digestWhole(digest) {
	if (!isDigest(digest)) return el('span.digest', name(digest, 160));
	return el('span.digest.whole', el('code', digest), copyButton(digest, 'the whole digest'));
}
