// Text that others wrote: names, labels, annotations, reports. It becomes text nodes and nothing else, set apart by <bdi>, with what
// can't be seen made visible, and cut where it is long.

const PICTURES = 0x2400;
// Controls, and what turns the direction of text or has no width. The joiners U+200C and U+200D are left: some languages need them.
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/u;
const UNSEEN_ALL = new RegExp(UNSEEN.source, 'gu');
const MOST = 240;

function picture(character) {
	const code = character.codePointAt(0);
	if (code < 0x20) return String.fromCodePoint(PICTURES + code);
	if (code === 0x7f) return '\u2421';
	return `U+${code.toString(16).toUpperCase().padStart(4, '0')}`;
}

// For places that take a string and no elements: titles of pages, labels for screen readers, text areas.
export function plain(text, most = MOST) {
	const shown = String(text ?? '').replace(UNSEEN_ALL, picture);
	return shown.length > most ? `${shown.slice(0, most)}…` : shown;
}

function fill(node, text) {
	let last = 0;
	if (UNSEEN.test(text)) {
		for (const match of text.matchAll(UNSEEN_ALL)) {
			if (match.index > last) node.append(text.slice(last, match.index));
			const mark = document.createElement('span');
			mark.className = 'unseen';
			mark.textContent = picture(match[0]);
			node.append(mark);
			last = match.index + match[0].length;
		}
	}
	node.append(text.slice(last));
}

// A name or another short text in one line. CSS cuts what does not fit; the title has the whole.
export function name(text, most = MOST) {
	const whole = String(text ?? '');
	const node = document.createElement('bdi');
	fill(node, whole.length > most ? `${whole.slice(0, most)}…` : whole);
	if (whole.length > 20) node.title = plain(whole, 2000);
	return node;
}

// A text of any length, with a button that shows all of it.
export function long(text, most = MOST) {
	const whole = String(text ?? '');
	const node = document.createElement('bdi');
	node.className = 'long';
	if (whole.length <= most) {
		fill(node, whole);
		return node;
	}
	const show = (all) => {
		node.replaceChildren();
		fill(node, all ? whole : `${whole.slice(0, most)}…`);
		const button = document.createElement('button');
		button.type = 'button';
		button.className = 'more';
		button.textContent = all ? 'Show less' : `Show all ${whole.length.toLocaleString('en')} characters`;
		button.setAttribute('aria-expanded', String(all));
		button.addEventListener('click', () => {
			show(!all);
			node.querySelector('button.more').focus();
		});
		node.append(' ', button);
	};
	show(false);
	return node;
}
