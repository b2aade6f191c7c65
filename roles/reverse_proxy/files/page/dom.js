// Elements without markup: nothing here, or anywhere else on the page, parses text as HTML.

// el('button.copy', {on: {click}}, 'text', node, …): tag and classes, properties if there are any, and content. Strings become text
// nodes; what is empty is left out.
export function el(kind, ...rest) {
	const [tag, ...classes] = kind.split('.');
	const node = document.createElement(tag);
	if (classes.length) node.className = classes.join(' ');
	const [first] = rest;
	const properties = first?.constructor === Object ? rest.shift() : {};
	for (const [key, value] of Object.entries(properties)) {
		if (value === null || value === undefined || value === false) continue;
		if (key === 'on') {
			for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
		} else if (key === 'class') {
			node.className = value;
		} else if (/^(?:href|src|on.*|style)$/.test(key)) {
			// Addresses are made by link() and by download() alone.
			throw new Error(`${key} is not set here`);
		} else {
			node.setAttribute(key, value === true ? '' : value);
		}
	}
	return add(node, rest);
}

export function add(node, children) {
	for (const child of children.flat(Infinity)) {
		if (child !== null && child !== undefined && child !== false && child !== '') node.append(child);
	}
	return node;
}

// A link within the page. What begins with "#/" can't lead elsewhere.
export function link(route, ...rest) {
	if (!route.startsWith('#/')) throw new Error('a link within the page begins with #/');
	const node = el('a', ...rest);
	node.setAttribute('href', route);
	return node;
}

const SVG = 'http://www.w3.org/2000/svg';
// Strokes on a grid of 16. They always stand beside words or have a label on their button.
const ICONS = {
	copy: 'M6 6h7.5v7.5H6zM10 3.5V2.5H2.5V10h1',
	done: 'M3 8.5l3.2 3.2L13 5',
	moon: 'M13.4 9.6A5.8 5.8 0 1 1 6.4 2.6a4.7 4.7 0 0 0 7 7z',
	leave: 'M9.5 2.5h-7v11h7M6.5 8h7M11 5.5L13.5 8 11 10.5',
	up: 'M8 12.5v-9M4.5 7L8 3.5 11.5 7',
	down: 'M8 3.5v9M4.5 9L8 12.5 11.5 9',
	cross: 'M4 4l8 8M12 4l-8 8',
	warn: 'M8 2.2L14.5 13.5h-13zM8 6.5v3.2M8 11.4v.4',
	bad: 'M5.2 1.8h5.6l3.4 3.4v5.6l-3.4 3.4H5.2l-3.4-3.4V5.2zM8 4.8v4M8 10.9v.4',
	none: 'M4 8h8',
	search: 'M7 11.5a4.5 4.5 0 1 1 0-9 4.5 4.5 0 0 1 0 9zM10.3 10.3l3.5 3.5',
};

export function icon(name) {
	const node = document.createElementNS(SVG, 'svg');
	node.setAttribute('viewBox', '0 0 16 16');
	node.setAttribute('class', `icon icon-${name}`);
	node.setAttribute('aria-hidden', 'true');
	const path = document.createElementNS(SVG, 'path');
	path.setAttribute('d', ICONS[name]);
	node.append(path);
	return node;
}

export const spoken = (text) => el('span.spoken', text);

// Tells screen readers what has changed. Late and once, so that fast typing is not read aloud letter by letter.
let waiting = 0;
export function announce(text, soon = false) {
	clearTimeout(waiting);
	waiting = setTimeout(() => {
		document.getElementById('status').textContent = text;
	}, soon ? 30 : 500);
}

export function isTyping(target) {
	return target instanceof HTMLElement && target.matches('input, textarea, select');
}
