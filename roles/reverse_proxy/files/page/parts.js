// What several views share: badges, facts, search fields, empty states, errors.
import { add, announce, el, icon } from './dom.js';
import { count, time } from './format.js';
import { own } from './shape.js';
import { long, name, plain } from './text.js';

// kind: good, warn, bad, quiet. Says it by a word and a shape as well as by a colour.
const SHAPES = { good: 'done', warn: 'warn', bad: 'bad', quiet: 'none' };

export function badge(kind, words, title) {
	return el('span', { class: `badge ${kind}`, title: title ? plain(title, 400) : null }, icon(SHAPES[kind]), typeof words === 'string' ? name(words, 40) : words);
}

export const h1 = (...content) => el('h1', { tabindex: -1 }, content);
export const crumbs = (...links) => el('nav.crumbs', { 'aria-label': 'Where you are' }, links.map((one) => [one, ' / ']));
export const faint = (words) => el('span.faint', words);
export const note = (...words) => el('p.faint', words);
export const button = (kind, words, click) => el('button', { type: 'button', class: kind, on: click && { click } }, words);

export const pushed = (at, by, missing) => [time(at, missing), by && el('span.by', ' by ', name(by, 60))];

export function tags(items, most = 50) {
	return el('ul.tags', items.slice(0, most).map((item) => el('li', item)), items.length > most && el('li', faint(`and ${count(items.length - most)} more`)));
}

export const bare = (items) => el('ul.bare', items.slice(0, 50).map((item) => el('li', item)));

const VERDICTS = { passed: 'good', refused: 'bad', unverified: 'warn' };
export const ranks = ['', 'passed', 'unverified', 'refused'];

export function verdict(value) {
	if (!value) return faint('not scanned');
	return badge(own(VERDICTS, value) ?? 'quiet', value[0].toUpperCase() + value.slice(1));
}

const OUTCOMES = { ok: 'good', changed: 'good', failed: 'bad', unreachable: 'bad', rolled_back: 'bad', damaged: 'bad', refused: 'bad' };
export const outcomeKind = (value) => own(OUTCOMES, value) ?? 'quiet';
export const outcome = (value) => (value ? badge(outcomeKind(value), value.replaceAll('_', ' ')) : faint('–'));

const severityKind = (severity) => ({ critical: 'bad', high: 'warn' })[severity] ?? 'quiet';

export function findings(counts, most = 2, refused = false) {
	if (!counts) return refused ? badge('bad', 'refused') : faint('unknown');
	const found = counts.filter(([, number]) => number > 0);
	if (!found.length) return refused ? badge('bad', 'refused') : badge('good', 'clean', 'The scan has found nothing');
	const all = found.map(([severity, number]) => `${count(number)} ${severity}`);
	const shown = (refused ? 'refused: ' : '') + all.slice(0, most).join(', ');
	return badge(refused ? 'bad' : severityKind(found[0][0]), name(shown, 100), all.join(', '));
}

// Who may push can attach any report: what the gate has not made praises nothing.
export function scanResult(scan, most) {
	if (!scan) return faint('not scanned');
	return scan.verdict === 'unverified' ? badge('warn', 'unverified', 'The report was not sealed by the gate on this registry host.') : findings(scan.counts, most, scan.verdict === 'refused');
}

export function facts(pairs, kind = 'facts') {
	return el('dl', { class: kind }, pairs.filter(Boolean).map(([term, ...values]) => el('div', el('dt', term), el('dd', values))));
}

const paragraphs = (content) => content.map((one) => (typeof one === 'string' ? el('p', one) : one));

export function callout(kind, title, ...rest) {
	return el('div', { class: `callout ${kind}` }, icon(SHAPES[kind] ?? 'warn'), el('div', title && el('strong', title), paragraphs(rest)));
}

export function problem(error, again) {
	const words = el('p', error.cure ?? 'Reload the page.');
	const said = error.detail ? el('p.faint', 'The registry says: ', long(error.detail)) : null;
	const node = callout(error.status === 404 ? 'quiet' : 'bad', error.title ?? 'The page failed', words, said, again && el('p.actions', button('plain', 'Try again', again)));
	node.setAttribute('role', 'alert');
	return node;
}

export function empty(title, ...rest) {
	return el('div.empty', el('h2', title), paragraphs(rest));
}

export const loading = () => el('p.loading', { role: 'status' }, 'Loading …');

export function section(title, ...rest) {
	return el('section', { class: `card s-${title.toLowerCase()}` }, el('h2', title), rest);
}

// A search field. `/` focuses it, Escape empties it, Enter and the arrow down lead to the first result.
export class Search {
	constructor({ label, value, onInput, onDown, onEnter }) {
		this.input = el('input', { type: 'search', 'aria-label': label, placeholder: label, autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false', maxlength: 200 });
		this.input.value = value ?? '';
		this.result = el('span.result');
		this.node = el('div.search', { role: 'search' }, icon('search'), this.input, el('kbd', { 'aria-hidden': 'true' }, '/'), this.result);
		this.input.addEventListener('input', () => onInput(this.input.value));
		this.input.addEventListener('keydown', (event) => {
			if (event.key === 'Escape' && this.input.value) {
				event.stopPropagation();
				event.preventDefault();
				this.input.value = '';
				onInput('');
			} else if (event.key === 'ArrowDown' || event.key === 'Enter') {
				event.preventDefault();
				(event.key === 'Enter' && this.input.value ? onEnter ?? onDown : onDown)?.();
			}
		});
	}

	set value(value) {
		// A blank at the end is not part of the address, and may be followed by another word.
		if (this.input.value.trim() !== value) this.input.value = value;
	}

	tell(shown, all, one, many = `${one}s`) {
		const words = shown === all ? `${count(all)} ${all === 1 ? one : many}` : `${count(shown)} of ${count(all)} ${many}`;
		if (this.result.textContent !== words) {
			this.result.textContent = words;
			announce(words);
		}
	}
}

export const words = (query) => query.toLowerCase().split(/\s+/).filter(Boolean);
export const matches = (text, wanted) => wanted.every((word) => text.includes(word));

// A name in which what was searched for is marked.
export function marked(text, wanted) {
	if (!wanted.length || text.length > 240) return name(text);
	const lower = text.toLowerCase();
	const hits = new Uint8Array(text.length);
	for (const word of wanted) {
		for (let at = lower.indexOf(word); at >= 0; at = lower.indexOf(word, at + word.length)) hits.fill(1, at, at + word.length);
	}
	const node = el('bdi', { title: text.length > 20 ? plain(text) : null });
	for (let from = 0; from < text.length; ) {
		let to = from;
		while (to < text.length && hits[to] === hits[from]) to += 1;
		const piece = plain(text.slice(from, to));
		add(node, [hits[from] ? el('mark', piece) : piece]);
		from = to;
	}
	return node;
}

export function plainTable(label, headings, rows, most = 500) {
	const body = rows.slice(0, most).map((cells) =>
		el('tr', cells.map((cell, at) => {
			const title = headings[at]?.label ?? headings[at];
			const properties = { class: headings[at]?.number ? 'number' : null, 'data-label': title };
			return at === 0 ? el('th', { ...properties, scope: 'row' }, cell) : el('td', properties, cell);
		})),
	);
	return el(
		'div',
		{ class: 'plain-table', tabindex: 0, role: 'region', 'aria-label': label },
		el('table', el('caption.spoken', label), el('thead', el('tr', headings.map((heading) => el('th', { scope: 'col', class: heading.number ? 'number' : null }, heading.label ?? heading)))), el('tbody', body)),
		rows.length > most && el('p.faint', `The first ${count(most)} of ${count(rows.length)}.`),
	);
}
