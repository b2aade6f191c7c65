// The fleet: hosts, what they run, certificates, backups, mirrors, storage, and the last reports.
import { loadFleet, state } from './data.js';
import { el, link } from './dom.js';
import { bytes, count, counted, span, time } from './format.js';
import { hostPanel, proof, toFleet } from './hosts.js';
import { fillTabs, List, ListView } from './list.js';
import { badge, callout, empty, facts, faint, findings, h1, loading, marked, note, outcome, plainTable, problem } from './parts.js';
import { reportSection } from './reports.js';
import { to } from './routes.js';
import { isDigest, isName, own } from './shape.js';
import { column, numbers } from './table.js';
import { long, name } from './text.js';

const AGAIN = 30_000;
const SOON = 21;

const hostLink = (view, host) => link(to.fleet('hosts', { ...(view.showing === 'hosts' ? view.route.parameters : {}), host }), { class: 'main' }, marked(host, view.wanted));

// Where a container's image is in this registry. Others are shown, and lead nowhere.
function imageLink(run) {
	const [repository] = run.image.split(/[:@]/);
	const known = isName(repository) && state.byName.has(repository) && isDigest(run.digest);
	return known ? link(to.image(repository, run.digest), name(run.image, 160)) : name(run.image, 160);
}

function days(left) {
	if (left === null) return faint('not known');
	if (left < 0) return badge('bad', `ended ${count(-left)} d ago`);
	return badge(left < SOON ? 'warn' : 'good', `${count(left)} d left`);
}

const LISTS = {
	hosts: {
		label: 'Hosts',
		search: 'Search hosts',
		one: 'host',
		kind: 'fleet-hosts',
		order: { by: 'check', desc: false },
		key: (host) => host.name,
		rows: (view) => view.fleet.hosts,
		text: (host) => `${host.name} ${host.engine} ${host.trust}`.toLowerCase(),
		columns: (view) => [
			column('host', 'Host', 'name', (host) => hostLink(view, host.name)),
			column('engine', 'Engine', 'engine', (host) => (host.engine ? name(host.engine, 60) : faint('none'))),
			column('trust', 'Trusts', 'trust', (host) => (host.trust ? name(host.trust, 120) : faint('–'))),
			column('check', 'Last check', (host) => proof(host).rank, (host) => badge(proof(host).kind, proof(host).words, proof(host).more)),
			column('when', 'When', (host) => proof(host).at, (host) => time(proof(host).at, 'never'), { desc: true }),
			numbers('runs', 'Runs', (host) => host.runs.length, (host) => counted(host.runs.length, 'container')),
			column('findings', 'Findings', 'score', (host) => (host.findings ? findings(host.findings) : faint('not scanned')), { desc: true }),
		],
		nothing: () => empty('No hosts known yet', 'Run rollout.yml or doctor.yml. What they find is kept on the registry host and shown here.'),
	},
	running: {
		label: 'Running containers',
		search: 'Search what runs',
		one: 'container',
		kind: 'fleet-running',
		order: { by: 'image', desc: false },
		key: (run) => run.key,
		rows: (view) => view.fleet.runs,
		text: (run) => `${run.host} ${run.container} ${run.image} ${run.digest}`.toLowerCase(),
		columns: (view) => [
			column('container', 'Container', 'container', (run) => marked(run.container, view.wanted)),
			column('host', 'Host', 'host', (run) => hostLink(view, run.host)),
			column('image', 'Image', 'image', imageLink),
			column('since', 'Since', 'since', (run) => time(run.since), { desc: true }),
			column('moved', 'Tag', (run) => Number(run.moved), (run) => (run.moved ? badge('warn', 'has moved', 'The tag points to another image by now') : faint('unchanged')), { desc: true, help: 'Whether the tag has moved to another image since' }),
		],
		nothing: () => empty('Nothing is known to run', 'exposure.yml asks the engines of all hosts, and tells it here.'),
	},
};

// ---- what is short enough for a plain table

const PLAIN = {
	certificates: (fleet) => (fleet.certificates.length
		? plainTable('Certificates', ['Name', 'Host', 'File', 'Ends', 'Left'], fleet.certificates.map((one) => [name(one.name, 120), name(one.host, 120), long(one.file), time(one.end, '–', 'short'), days(one.days)]))
		: empty('No certificate can be read', 'Run site.yml, which creates them.')),
	backups: (fleet) => (fleet.backups.length
		? plainTable('Backups', ['Host', 'Last backup', 'Last proven restore', 'Outcome', 'What it said', 'Repository'], fleet.backups.map((one) => [
			name(one.host, 120), time(one.last, 'never'), one.proven === null ? badge('warn', 'never proven') : time(one.proven), outcome(one.outcome), long(one.said), long(one.repository)]))
		: empty('No backup is known', 'Set backup_repository and run backup.yml: without a backup, a lost disk loses all images.')),
	mirrors: (fleet) => (fleet.mirrors.length
		? plainTable('Mirrors', ['Mirror', 'Host', 'Last copy', 'Stale for', 'Problem'], fleet.mirrors.map((one) => [
			name(one.name, 160), name(one.host, 120), time(one.last, 'never'),
			one.stale === null ? faint('–') : badge('warn', span(Math.max(0, Date.now() / 1000 - one.stale))),
			one.problem ? long(one.problem) : faint('none')]))
		: empty('No mirror is known', 'mirror.yml copies repositories of other registries into this one.')),
	storage: (fleet) => el('div.cards', disk(), collection(fleet.collection)),
	reports: (fleet) => (fleet.reports.length
		? el('div.cards', fleet.reports.map(reportSection))
		: empty('No report is kept yet', 'rollout.yml, doctor.yml, exposure.yml, maintain.yml, mirror.yml and backup.yml each keep their last one.')),
};

function disk() {
	const { size, free } = state.index?.storage ?? {};
	if (!size) return null;
	const share = Math.round((100 * (size - (free ?? 0))) / size);
	const bar = el('div', { class: `meter${share >= 90 ? ' bad' : share >= 75 ? ' warn' : ''}`, role: 'img', 'aria-label': `${share} percent used` }, el('span'));
	bar.firstChild.style.width = `${share}%`;
	return el('section.card', el('h2', 'Disk'), bar, facts([['Used', `${bytes(size - (free ?? 0))} (${share} %)`], ['Free', bytes(free)], ['Size', bytes(size)]]));
}

function collection(last) {
	return el('section.card', el('h2', 'Garbage collection'), last
		? facts([['Last', time(last.last, 'never')], ['Freed', bytes(last.freed)], ['Writes waited', last.held === null ? '–' : `${last.held.toFixed(1)} s`]])
		: note('No collection is known. A timer runs it every night (maintenance_schedule), and maintain.yml runs it at once.'));
}

const TITLES = { hosts: 'Hosts', running: 'Running', certificates: 'Certificates', backups: 'Backups', mirrors: 'Mirrors', storage: 'Storage', reports: 'Reports' };
const AMOUNTS = { running: 'runs', storage: '' };

export class Fleet extends ListView {
	constructor(context, route) {
		super();
		Object.assign(this, { context, route, wanted: [] });
		context.title('Fleet');
		this.sums = el('div');
		this.tabs = el('nav.tabs', { 'aria-label': 'Parts of the fleet' });
		this.content = el('div', loading());
		context.main.append(el('header.head', h1('Fleet'), this.sums), this.tabs, this.content);
		this.#load();
	}

	async #load() {
		this.loaded = Date.now();
		try {
			const document = await loadFleet();
			if (this.gone || document === this.document) return;
			const first = !this.document;
			this.document = document;
			this.fleet = toFleet(document);
			this.#sums();
			if (first) this.update(this.route);
			else this.#show({ keep: true });
		} catch (error) {
			if (this.gone || this.document) return;
			this.content.replaceChildren(error.status === 404 || error.status === 403
				? callout('quiet', 'Your account does not see the fleet', 'It is shown to users who may list all repositories. Ask the operator of the registry.')
				: problem(error, () => this.#load()));
		}
	}

	data() {
		if (Date.now() - this.loaded > AGAIN) this.#load();
	}

	#sums() {
		const { hosts, certificates, backups, mirrors, made } = this.fleet;
		const kinds = hosts.map((host) => proof(host).kind);
		const good = kinds.filter((kind) => kind === 'good').length;
		const bad = kinds.filter((kind) => kind === 'bad').length;
		const [next] = certificates;
		const proven = Math.max(...backups.map((one) => one.proven ?? 0));
		const stale = mirrors.filter((one) => one.problem || one.stale !== null || one.last === null).length;
		this.sums.replaceChildren(facts([
			['Hosts', count(hosts.length)],
			['Checks', bad ? badge('bad', `${count(bad)} failed`) : badge(good ? 'good' : 'quiet', `${count(good)} of ${count(hosts.length)} ok`)],
			['Next certificate', next ? days(next.days) : faint('not known')],
			['Proven restore', proven > 0 ? time(proven) : badge('warn', backups.length ? 'never' : 'no backup')],
			mirrors.length > 0 && ['Mirrors', stale ? badge('warn', `${count(stale)} stale`) : badge('good', 'fresh')],
			['As of', time(made)],
		]));
	}

	update(route) {
		const before = this.route;
		this.route = route;
		if (!this.document) return;
		const wanted = Object.hasOwn(TITLES, route.section) ? route.section : 'hosts';
		const built = wanted !== this.showing;
		if (built) this.#build(wanted);
		this.context.title(`${TITLES[wanted]} · Fleet`);
		this.#show({ changed: true });
		if (built || before.parameters.host !== route.parameters.host) this.#panel(before.parameters.host !== route.parameters.host);
		this.context.ready();
	}

	#build(wanted) {
		this.list?.destroy();
		this.showing = wanted;
		fillTabs(this.tabs, Object.entries(TITLES).map(([section, title]) => {
			const rows = this.fleet[AMOUNTS[section] ?? section];
			return [section, link(to.fleet(section), title), rows && count(rows.length)];
		}), wanted);
		const shows = own(LISTS, wanted) ?? null;
		this.list = shows && new List(this, shows, (parameters) => this.context.replace(to.fleet(wanted, { ...this.route.parameters, ...parameters })));
		if (shows) this.content.replaceChildren(this.list.node);
	}

	#show(options) {
		if (this.list) this.list.show(options);
		else this.content.replaceChildren(PLAIN[this.showing](this.fleet));
	}

	#panel(moved) {
		const wanted = this.showing === 'hosts' ? this.route.parameters.host : '';
		const host = wanted && this.fleet.hosts.find((one) => one.name === wanted);
		this.list?.panel(wanted ?? '', host && hostPanel(host, imageLink, () => this.close()), moved);
	}

	close() {
		const { host } = this.route.parameters;
		if (!host || this.showing !== 'hosts') return false;
		this.list.left = host;
		this.context.go(to.fleet('hosts', { ...this.route.parameters, host: '' }));
		return true;
	}
}
