// The last report of a playbook, as the tables that it has made.
import { el } from './dom.js';
import { bytes, count, span, time } from './format.js';
import { badge, faint, note, outcome, plainTable } from './parts.js';
import { dict, list, own, pick, picks, text } from './shape.js';
import { long, plain } from './text.js';

const TITLES = { rollout: 'Rollout', doctor: 'Doctor', exposure: 'Exposure', maintain: 'Maintenance', mirror: 'Mirror', backup: 'Backup' };

const COLUMN = { name: text, label: text, kind: text };
const SECTION = { title: text, columns: (value) => picks(value, COLUMN), rows: (value) => list(value).map(dict) };
const REPORT = { made: text, outcome: text, summary: text, sections: (value) => picks(value, SECTION) };

export const toReport = (kind, value) => ({ title: own(TITLES, kind) ?? kind, ...pick(value, REPORT) });

function cell(kind, value) {
	if (value === null || value === undefined || value === '') return faint('–');
	if (typeof value === 'number') {
		if (kind === 'bytes') return bytes(value);
		if (kind === 'seconds') return value < 60 ? `${value.toFixed(1)} s` : span(value);
		if (kind === 'time') return time(value);
		return count(value);
	}
	if (kind === 'time') return time(String(value), String(value));
	if (kind === 'outcome') return outcome(String(value));
	return long(typeof value === 'object' ? JSON.stringify(value) : String(value));
}

export function reportSection(report) {
	const good = report.outcome === 'ok';
	const tables = report.sections.map((section) => [
		section.title && el('h3', long(section.title)),
		section.rows.length
			? plainTable(plain(section.title || report.title, 80), section.columns.map((column) => ({ label: plain(column.label || column.name, 60), number: ['number', 'bytes', 'seconds'].includes(column.kind) })), section.rows.map((row) => section.columns.map((column) => cell(column.kind, own(row, column.name) ?? null))))
			: note('Nothing to tell.'),
	]);
	return el('section.card', el('h2', plain(report.title, 60), ' ', badge(good ? 'good' : 'bad', report.outcome || 'unknown')), el('p', long(report.summary), ' ', el('span.faint', time(report.made))), tables);
}
