// The fleet document brought into shape, and one host in full.
import { score, severities } from './data.js';
import { el } from './dom.js';
import { seconds, time } from './format.js';
import { panel } from './list.js';
import { badge, facts, faint, findings, note, outcome, outcomeKind, tags } from './parts.js';
import { toReport } from './reports.js';
import { dict, list, number, pick, picks, text, yes } from './shape.js';
import { long, name } from './text.js';

const maybe = (fields) => (value) => (value ? pick(value, fields) : null);
const HOST = {
	name: ['host', text],
	engine: text,
	engines: (value) => list(value).map((engine) => text(engine) || text(dict(engine).name)).filter(Boolean),
	trust: text,
	rollout: maybe({ outcome: text, said: text, at: ['when', seconds] }),
	doctor: maybe({ hop: text, title: text, cure: text, at: ['when', seconds] }),
	runs: (value) => picks(value, { container: text, image: text, digest: text, since: seconds, moved: yes }),
	findings: (value) => value && severities(value),
};

export function toFleet(document) {
	const hosts = picks(document.hosts, HOST);
	for (const host of hosts) host.score = score(host.findings);
	return {
		made: text(document.made),
		hosts,
		runs: hosts.flatMap((host) => host.runs.map((run, at) => ({ ...run, host: host.name, key: `${host.name} ${at} ${run.container}` }))),
		certificates: picks(document.certificates, { host: text, name: text, file: ['subject', text], end: ['not_after', text], days: number }).sort((one, other) => (one.days ?? 1e9) - (other.days ?? 1e9)),
		backups: picks(document.backups, { host: text, last: seconds, proven: ['last_proven', seconds], outcome: text, said: text, repository: text }),
		mirrors: picks(document.mirrors, { host: text, name: text, last: seconds, stale: ['stale_since', seconds], problem: text }),
		collection: maybe({ last: seconds, freed: number, held: ['held_seconds', number] })(document.collection),
		reports: Object.entries(dict(document.reports)).map(([kind, report]) => toReport(kind, report)),
	};
}

// The worse of what the doctor found and how the rollout ended, and the later time of both. Computed once for each host.
const proofs = new WeakMap();
export function proof(host) {
	if (!proofs.has(host)) proofs.set(host, judged(host));
	return proofs.get(host);
}

function judged({ rollout, doctor }) {
	const at = Math.max(rollout?.at ?? 0, doctor?.at ?? 0) || null;
	if (doctor?.hop) return { kind: 'bad', words: `fails at ${doctor.hop}`, more: doctor.title, at: doctor.at, rank: 0 };
	const kind = rollout && outcomeKind(rollout.outcome);
	const words = rollout?.outcome.replaceAll('_', ' ');
	// A doctor that came after a failed rollout and found nothing has proven the host.
	const mended = doctor && (doctor.at ?? 0) > (rollout?.at ?? 0);
	if (kind === 'bad' && !mended) return { kind, words, more: rollout.said, at: rollout.at, rank: 1 };
	if (doctor || kind === 'good') return { kind: 'good', words: 'ok', more: rollout?.said ?? '', at, rank: 3 };
	return { kind: 'quiet', words: words || 'none yet', more: '', at, rank: 2 };
}

export function hostPanel(host, imageLink, close) {
	const { rollout, doctor, findings: counts } = host;
	return panel('host', host.name, close,
		facts([
			['Engines', host.engines.length ? tags(host.engines.map((engine) => name(engine, 80))) : host.engine ? name(host.engine, 80) : faint('none')],
			['Trusts', host.trust ? long(host.trust) : faint('unknown')],
			['Rollout', rollout ? [outcome(rollout.outcome), ' ', time(rollout.at), rollout.said && el('p', long(rollout.said))] : faint('No rollout is known.')],
			['Doctor', doctor ? [
				doctor.hop ? badge('bad', `fails at ${doctor.hop}`) : badge('good', 'all hops work'), ' ', time(doctor.at),
				doctor.title && el('p', long(doctor.title)),
				doctor.cure && el('p', el('strong', 'Cure: '), long(doctor.cure)),
			] : faint('doctor.yml has not run for this host.')],
			['Findings', counts ? findings(counts, 6) : faint('not scanned')],
		], 'details'),
		el('h3', 'Runs'),
		host.runs.length
			? el('ul.runs', host.runs.slice(0, 100).map((run) => el('li', el('strong', name(run.container, 80)), imageLink(run), el('span.faint', 'since ', time(run.since)), run.moved && badge('warn', 'tag has moved'))))
			: note('Nothing of this registry is known to run here.'));
}
