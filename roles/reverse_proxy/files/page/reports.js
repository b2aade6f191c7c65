// The last report of a playbook, as the tables that it has made.
import { el } from './dom.js';
import { bytes, count, span, time } from './format.js';
import { badge, faint, plainTable } from './parts.js';
import { dict, list, text } from './shape.js';
import { long, plain } from './text.js';

const TITLES = { rollout: 'Rollout', doctor: 'Doctor', exposure: 'Exposure', maintain: 'Maintenance', mirror: 'Mirror', backup: 'Backup' };

export function toReport(kind, value) {
  const report = dict(value);
  return {
    title: Object.hasOwn(TITLES, kind) ? TITLES[kind] : kind,
    made: text(report.made),
    outcome: text(report.outcome),
    summary: text(report.summary),
    sections: list(report.sections).map(dict).map((section) => ({
      title: text(section.title),
      columns: list(section.columns).map(dict).map((column) => ({ name: text(column.name), label: text(column.label), kind: text(column.kind) })),
      rows: list(section.rows).map(dict),
    })),
  };
}

const OUTCOMES = { ok: 'good', changed: 'good', failed: 'bad', unreachable: 'bad', rolled_back: 'bad', damaged: 'bad', refused: 'bad' };

function cell(kind, value) {
  if (value === null || value === undefined || value === '') return faint('–');
  if (typeof value === 'number') {
    if (kind === 'bytes') return bytes(value);
    if (kind === 'seconds') return value < 60 ? `${value.toFixed(1)} s` : span(value);
    if (kind === 'time') return time(value);
    return count(value);
  }
  if (kind === 'time') return time(String(value), String(value));
  if (kind === 'outcome') return badge(Object.hasOwn(OUTCOMES, value) ? OUTCOMES[value] : 'quiet', String(value).replaceAll('_', ' '));
  return long(typeof value === 'object' ? JSON.stringify(value) : String(value));
}

export function reportSection(report) {
  const good = report.outcome === 'ok';
  const tables = report.sections.map((section) => [
    section.title && el('h3', null, long(section.title)),
    section.rows.length
      ? plainTable(plain(section.title || report.title, 80), section.columns.map((column) => ({ label: plain(column.label || column.name, 60), number: ['number', 'bytes', 'seconds'].includes(column.kind) })), section.rows.map((row) => section.columns.map((column) => cell(column.kind, Object.hasOwn(row, column.name) ? row[column.name] : null))))
      : el('p', { class: 'faint' }, 'Nothing to tell.'),
  ]);
  return el('section', { class: 'card' }, el('h2', null, plain(report.title, 60), ' ', badge(good ? 'good' : 'bad', report.outcome || 'unknown')), el('p', null, long(report.summary), ' ', el('span', { class: 'faint' }, time(report.made))), tables);
}
