// Commands to copy. A name that is none is not put into a command: a shell would run what it says.
import { command } from './copy.js';
import { state } from './data.js';
import { el } from './dom.js';
import { note } from './parts.js';
import { isDigest, isHost, isName, isTag } from './shape.js';

const TOOLS = ['docker', 'podman', 'crictl'];

export function reference(registry, repository, tagOrDigest) {
	if (!isHost(registry) || !isName(repository)) return '';
	if (isDigest(tagOrDigest)) return `${registry}/${repository}@${tagOrDigest}`;
	return isTag(tagOrDigest) ? `${registry}/${repository}:${tagOrDigest}` : '';
}

function pull(tool, registry, repository, tagOrDigest) {
	const image = reference(registry, repository, tagOrDigest);
	return image && `${tool} pull ${image}`;
}

export const firstPush = (registry) =>
	isHost(registry)
		? [`docker login ${registry}`, `docker tag IMAGE ${registry}/team/app:1.0`, `docker push ${registry}/team/app:1.0`]
		: [];

const KEY = 'wharf-tool';
let chosen = TOOLS[0];
try {
	const kept = localStorage.getItem(KEY);
	if (TOOLS.includes(kept)) chosen = kept;
} catch {
	// Storage may be forbidden. The choice then lasts until the page is closed.
}

function choose(tool) {
	chosen = tool;
	try {
		localStorage.setItem(KEY, tool);
	} catch {
		// As above.
	}
}

export function pullCommands(repository, tag, digest) {
	const lines = el('div.commands');
	const fill = () => lines.replaceChildren(...[['by tag', tag], ['by digest', digest]].flatMap(([what, reference]) => {
		const line = reference && pull(chosen, state.registry, repository, reference);
		return line ? [command(line, `the ${chosen} command ${what}`)] : [];
	}));
	fill();
	if (!lines.firstChild) return note('This name cannot be used in a command.');
	const tools = TOOLS.map((tool) => {
		const radio = el('input', { type: 'radio', name: 'tool', value: tool, on: { change: () => { choose(tool); fill(); } } });
		radio.checked = tool === chosen;
		return el('label', radio, tool);
	});
	return [el('fieldset.choice', el('legend.spoken', 'Engine'), tools), lines];
}
