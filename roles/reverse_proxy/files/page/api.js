// Requests: the page's data files, and the registry's own API with the login that the browser holds.
import { fromStatus, noAnswer, PageError, UNREADABLE } from './errors.js';
import { dict, isDigest, isName, isTag, list, text } from './shape.js';

const MANIFESTS = [
	'application/vnd.oci.image.index.v1+json',
	'application/vnd.oci.image.manifest.v1+json',
	'application/vnd.docker.distribution.manifest.list.v2+json',
	'application/vnd.docker.distribution.manifest.v2+json',
].join(', ');
// What the registry takes as a manifest, and more than enough for a configuration.
const MOST = 4 * 1024 * 1024;
const TIMEOUT = 30_000;

// The origin is named, because an address that holds a password can't be the base of a request.
export const address = (path) => location.origin + path;

let first = window.wharfFirst;

export async function ask(path, { method = 'GET', headers = {}, body } = {}) {
	if (first && path === '/page/data/index.json') {
		const answer = await first;
		first = null;
		if (answer) return answer;
	}
	try {
		return await fetch(address(path), {
			method,
			headers,
			body,
			cache: method === 'GET' && path.includes('/page/data/index-') ? 'default' : 'no-store',
			credentials: 'same-origin',
			redirect: 'error',
			signal: AbortSignal.timeout(TIMEOUT),
		});
	} catch {
		throw noAnswer();
	}
}

export async function refusal(response) {
	let said = '';
	try {
		const document = dict(JSON.parse(await response.text()));
		said = list(document.errors).map((error) => text(dict(error).message)).filter(Boolean).join('; ');
	} catch {
		// A body that is no JSON has nothing to say that the status does not.
	}
	return fromStatus(response.status, said);
}

// {document, etag, user}, or null where nothing has changed since the ETag.
export async function getData(path, etag = '') {
	const response = await ask(path, { headers: etag ? { 'If-None-Match': etag } : {} });
	if (response.status === 304) return null;
	if (!response.ok) throw await refusal(response);
	try {
		return {
			document: dict(await response.json()),
			etag: response.headers.get('ETag') ?? '',
			user: response.headers.get('X-Wharf-User') ?? '',
		};
	} catch {
		throw new PageError(response.status, 'The data of the page cannot be read', UNREADABLE);
	}
}

export const dataPath = (repository) => `/page/data/repositories/${repository}.json`;
export const digestPath = (digest) => `/page/data/digests/${digest.replace(':', '-')}.json`;

export function manifestPath(repository, reference) {
	if (!isName(repository) || !(isDigest(reference) || isTag(reference))) throw fromStatus(404);
	return `/v2/${repository}/manifests/${reference}`;
}

export function blobPath(repository, digest) {
	if (!isName(repository) || !isDigest(digest)) throw fromStatus(404);
	return `/v2/${repository}/blobs/${digest}`;
}

export async function digestOf(content) {
	const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', content));
	return `sha256:${Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

async function verified(response, digest) {
	const content = await response.arrayBuffer();
	if (digest.startsWith('sha256:') && globalThis.crypto?.subtle && (await digestOf(content)) !== digest) {
		throw new PageError(502, 'What the registry sent does not match its digest', 'Tell the operator: the storage may be damaged.');
	}
	return content;
}

function parsed(content) {
	try {
		return dict(JSON.parse(new TextDecoder().decode(content)));
	} catch {
		throw new PageError(502, 'What the registry sent is no JSON', 'Tell the operator: the storage may be damaged.');
	}
}

export async function getManifest(repository, digest) {
	const response = await ask(manifestPath(repository, digest), { headers: { Accept: MANIFESTS } });
	if (!response.ok) throw await refusal(response);
	const content = await verified(response, digest);
	const document = parsed(content);
	const type = (response.headers.get('Content-Type') ?? '').split(';')[0];
	return { digest, content, document, type: text(document.mediaType) || type, size: content.byteLength };
}

export async function getConfig(repository, descriptor) {
	if (descriptor.size > MOST) {
		throw new PageError(413, 'The configuration of this image is too large to be shown', 'Fetch it with curl instead.');
	}
	const response = await ask(blobPath(repository, descriptor.digest));
	if (!response.ok) throw await refusal(response);
	return parsed(await verified(response, descriptor.digest));
}

export async function headManifest(repository, reference) {
	const response = await ask(manifestPath(repository, reference), { method: 'HEAD', headers: { Accept: MANIFESTS } });
	if (response.status === 404) return null;
	if (!response.ok) throw fromStatus(response.status);
	const digest = response.headers.get('Docker-Content-Digest') ?? '';
	if (!isDigest(digest)) throw new PageError(502, 'The registry did not say where the tag leads', 'Try again.');
	return digest;
}

export async function putManifest(repository, reference, content, type) {
	const response = await ask(manifestPath(repository, reference), { method: 'PUT', headers: { 'Content-Type': type }, body: content });
	if (!response.ok) throw await refusal(response);
}

export const deleteManifest = (repository, reference) => ask(manifestPath(repository, reference), { method: 'DELETE' });

export async function putBlob(repository, digest, content) {
	const there = await ask(blobPath(repository, digest), { method: 'HEAD' });
	if (there.ok) return;
	const start = await ask(`/v2/${repository}/blobs/uploads/`, { method: 'POST' });
	if (!start.ok) throw await refusal(start);
	// Of the address only what comes after the host: the content goes nowhere else.
	const where = new URL(start.headers.get('Location') ?? '', address('/'));
	if (!where.pathname.startsWith(`/v2/${repository}/blobs/uploads/`)) {
		throw new PageError(502, 'The registry named no place for an upload', 'Tell the operator.');
	}
	where.searchParams.set('digest', digest);
	const end = await ask(where.pathname + where.search, {
		method: 'PUT',
		headers: { 'Content-Type': 'application/octet-stream' },
		body: content,
	});
	if (!end.ok) throw await refusal(end);
}

// Makes the browser forget the password. It can't be told to: it is given another one, which is right at /page/logout alone.
export function logOut() {
	return new Promise((resolve) => {
		const request = new XMLHttpRequest();
		request.open('GET', address('/page/logout'), true, 'logout', '');
		request.timeout = 10_000;
		request.addEventListener('loadend', () => resolve(request.status === 200));
		request.send();
	});
}
