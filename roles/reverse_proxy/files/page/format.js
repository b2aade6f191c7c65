// Numbers, sizes and times as people read them. Times are in the reader's own zone.
import { el } from './dom.js';

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

export function bytes(size) {
	if (!Number.isFinite(size)) return '–';
	let unit = 0;
	let value = Math.abs(size);
	while (value >= 1023.5 && unit < UNITS.length - 1) {
		value /= 1024;
		unit += 1;
	}
	const digits = unit === 0 || value >= 99.95 ? 0 : 1;
	return `${size < 0 ? '−' : ''}${value.toFixed(digits)} ${UNITS[unit]}`;
}

const grouped = new Intl.NumberFormat('en');
export const count = (number) => (Number.isFinite(number) ? grouped.format(number) : '–');
export const counted = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

const exact = new Intl.DateTimeFormat('en-GB', { dateStyle: 'full', timeStyle: 'long' });
const short = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short' });
const STEPS = [
	[60, 1, 's'],
	[3600, 60, 'min'],
	[86400, 3600, 'h'],
	[60 * 86400, 86400, 'd'],
	[730 * 86400, 30.44 * 86400, 'mo'],
	[Infinity, 365.25 * 86400, 'y'],
];

// Seconds since 1970 of what the data holds: a number of seconds, a text in ISO 8601, or null.
export function seconds(when) {
	if (typeof when === 'number' && Number.isFinite(when)) return when;
	if (typeof when !== 'string' || when === '') return null;
	const parsed = Date.parse(when);
	return Number.isNaN(parsed) ? null : parsed / 1000;
}

const valid = (at) => at !== null && Math.abs(at) < 8.64e12;

export function span(length) {
	const [, size, unit] = STEPS.find(([below]) => length < below);
	return `${Math.floor(length / size)} ${unit}`;
}

export function relative(at, now = Date.now() / 1000) {
	const past = now - at;
	// Clocks of hosts differ by a few seconds.
	if (Math.abs(past) < 5) return 'just now';
	return past > 0 ? `${span(past)} ago` : `in ${span(-past)}`;
}

// A time as its age, with the exact time as title. refreshTimes() keeps it right.
export function time(when, missing = '–', style = 'relative') {
	const at = seconds(when);
	if (!valid(at)) return el('span.faint', missing);
	const node = el('time', { datetime: new Date(at * 1000).toISOString(), title: exact.format(at * 1000) });
	if (style === 'relative') node.dataset.at = String(at);
	node.textContent = style === 'relative' ? relative(at) : short.format(at * 1000);
	return node;
}

export function refreshTimes() {
	const now = Date.now() / 1000;
	for (const node of document.querySelectorAll('time[data-at]')) {
		const text = relative(Number(node.dataset.at), now);
		if (node.textContent !== text) node.textContent = text;
	}
}

export const shortDigest = (digest) => {
	const [algorithm, hex] = String(digest).split(':');
	return hex ? `${algorithm === 'sha256' ? '' : `${algorithm}:`}${hex.slice(0, 12)}` : String(digest).slice(0, 19);
};
