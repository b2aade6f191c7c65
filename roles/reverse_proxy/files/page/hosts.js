// The fleet document brought into shape, and one host in full.
import { el, icon } from './dom.js';
import { bytes, seconds, time } from './format.js';
import { badge, facts, faint, findings, severityKind } from './parts.js';
import { toReport } from './reports.js';
import { dict, list, number, text } from './shape.js';
import { long, name, plain } from './text.js';

const SEVERITIES = ['critical', 'high', 'medium', 'low', 'negligible', 'unknown'];
const WEIGHT = { critical: 1e9, high: 1e6, medium: 1e3, low: 1 };

const OUTCOMES = { ok: ['good', 'ok'], changed: ['good', 'changed'], rolled_back: ['bad', 'rolled back'], failed: ['bad', 'failed'], unreachable: ['bad', 'unreachable'], damaged: ['bad', 'damaged'], skipped: ['quiet', 'skipped'] };

export function outcome(value) {
  if (!value) return faint('–');
  const [kind, words] = Object.hasOwn(OUTCOMES, value) ? OUTCOMES[value] : ['quiet', value];
  return badge(kind, words);
}

function toHost(value) {
  const host = dict(value);
  const counts = host.findings ? SEVERITIES.map((severity) => [severity, number(dict(host.findings)[severity]) ?? 0]) : null;
  const rollout = host.rollout ? dict(host.rollout) : null;
  const doctor = host.doctor ? dict(host.doctor) : null;
  return {
    name: text(host.host),
    engine: text(host.engine),
    engines: list(host.engines).map((engine) => (typeof engine === 'string' ? engine : text(dict(engine).name))).filter(Boolean),
    trust: text(host.trust),
    rollout: rollout && { outcome: text(rollout.outcome), said: text(rollout.said), at: seconds(rollout.when) },
    doctor: doctor && { hop: text(doctor.hop), title: text(doctor.title), cure: text(doctor.cure), at: seconds(doctor.when) },
    runs: list(host.runs).map(dict).map((run) => ({ container: text(run.container), image: text(run.image), digest: text(run.digest), since: seconds(run.since), moved: run.moved === true })),
    findings: counts,
    score: counts && counts.reduce((sum, [severity, amount]) => sum + amount * (WEIGHT[severity] ?? 0.001), 0),
  };
}

export function toFleet(document) {
  const hosts = list(document.hosts).map(toHost);
  const collection = document.collection ? dict(document.collection) : null;
  return {
    made: text(document.made),
    hosts,
    runs: hosts.flatMap((host) => host.runs.map((run, at) => ({ ...run, host: host.name, key: `${host.name} ${at} ${run.container}` }))),
    certificates: list(document.certificates).map(dict).map((one) => ({ host: text(one.host), name: text(one.name), subject: text(one.subject), end: text(one.not_after), days: number(one.days) })).sort((one, other) => (one.days ?? 1e9) - (other.days ?? 1e9)),
    backups: list(document.backups).map(dict).map((one) => ({ host: text(one.host), last: seconds(one.last), proven: seconds(one.last_proven), outcome: text(one.outcome), said: text(one.said), repository: text(one.repository) })),
    mirrors: list(document.mirrors).map(dict).map((one) => ({ host: text(one.host), name: text(one.name), last: seconds(one.last), lag: number(one.lag_seconds), problem: text(one.problem) })),
    collection: collection && { last: seconds(collection.last), freed: number(collection.freed), held: number(collection.held_seconds), disk: disk(collection.disk) },
    reports: Object.entries(dict(document.reports)).map(([kind, report]) => toReport(kind, report)),
  };
}

function disk(value) {
  return Object.entries(dict(value)).filter(([, one]) => typeof one === 'number' || typeof one === 'string').map(([key, one]) => [key, typeof one === 'number' && one > 1024 ? bytes(one) : long(String(one))]);
}

const MOST = 4;

// The worse of what the doctor found and how the rollout ended, and the later time of both. Computed once for each host.
const proofs = new WeakMap();
export function proof(host) {
  if (!proofs.has(host)) proofs.set(host, judged(host));
  return proofs.get(host);
}

function judged({ rollout, doctor }) {
  const at = Math.max(rollout?.at ?? 0, doctor?.at ?? 0) || null;
  if (doctor?.hop) return { kind: 'bad', words: `fails at ${doctor.hop}`, more: doctor.title, at: doctor.at, rank: 0 };
  const [kind, words] = (rollout && OUTCOMES[rollout.outcome]) || ['', ''];
  // A doctor that came after a failed rollout and found nothing has proven the host.
  const mended = doctor && (doctor.at ?? 0) > (rollout?.at ?? 0);
  if (kind === 'bad' && !mended) return { kind, words, more: rollout.said, at: rollout.at, rank: 1 };
  if (doctor || kind === 'good') return { kind: 'good', words: 'good', more: rollout?.said ?? '', at, rank: MOST };
  return { kind: 'quiet', words: words || 'none yet', more: '', at, rank: 2 };
}

export function hostPanel(host, imageLink, close) {
  const { rollout, doctor } = host;
  return el('aside', { class: 'panel', 'aria-label': `Host ${plain(host.name, 120)}` },
    el('div', { class: 'panel-head' }, el('h2', { tabindex: -1 }, name(host.name, 120)), el('button', { type: 'button', class: 'ghost', 'aria-label': 'Close this host', title: 'Close (Escape)', on: { click: close } }, icon('cross'))),
    facts([
      ['Engines', host.engines.length ? el('ul', { class: 'tags' }, host.engines.slice(0, 20).map((engine) => el('li', null, name(engine, 80)))) : host.engine ? name(host.engine, 80) : faint('none')],
      ['Trusts', host.trust ? long(host.trust) : faint('not told')],
      ['Rollout', rollout ? [outcome(rollout.outcome), ' ', time(rollout.at), rollout.said && el('p', null, long(rollout.said))] : faint('No rollout is known.')],
      ['Doctor', doctor ? [doctor.hop ? badge('bad', `fails at ${doctor.hop}`) : badge('good', 'all hops work'), ' ', time(doctor.at), doctor.title && el('p', null, long(doctor.title)), doctor.cure && el('p', null, el('strong', null, 'Cure: '), long(doctor.cure))] : faint('The doctor was not asked.')],
      ['Findings', host.findings ? el('ul', { class: 'tags' }, host.findings.filter(([, amount]) => amount).map(([severity, amount]) => el('li', null, badge(severityKind(severity), `${amount} ${severity}`))), host.score === 0 && el('li', null, findings(host.findings))) : faint('exposure.yml has not judged it.')],
    ], 'details'),
    el('h3', null, 'Runs'),
    host.runs.length
      ? el('ul', { class: 'runs' }, host.runs.slice(0, 100).map((run) => el('li', null, el('strong', null, name(run.container, 80)), el('span', null, imageLink(run)), el('span', { class: 'faint' }, 'since ', time(run.since)), run.moved && badge('warn', 'tag has moved'))))
      : el('p', { class: 'faint' }, 'Nothing of this registry is known to run here.'));
}
