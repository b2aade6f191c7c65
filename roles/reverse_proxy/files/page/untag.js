// Removes one tag and no other, as the module registry_tag does: registry 3 deletes a tag by its name; version 2 deletes only digests,
// each with all its tags. There, the tag is first moved to a small manifest that nothing else points to, and that one is deleted.
import { deleteManifest, digestOf, getManifest, headManifest, putBlob, putManifest, refusal } from './api.js';
import { PageError } from './errors.js';

const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
// No repository has this manifest: a request to delete it tells whether the registry deletes at all.
const NOBODYS = `sha256:${'0'.repeat(64)}`;
const REMOVES = 'registry.wharf.removes';
const CONFIG = new TextEncoder().encode('{}');
const CONFIG_DIGEST = 'sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a';

export async function removeTag(repository, tag, digest, siblings) {
	// Read first: it is put back wherever something fails, and read while it is certainly there.
	const original = await getManifest(repository, digest);
	if (!(await isThere(repository, tag, digest))) return;
	if (!(await removeByName(repository, tag, digest))) await removeByThrowAway(repository, tag, original);
	// A registry that deletes a tag by deleting what it points to.
	if (siblings.length && (await headManifest(repository, digest)) === null) {
		for (const sibling of siblings) await putManifest(repository, sibling, original.content, original.type);
	}
}

async function isThere(repository, tag, digest) {
	const now = await headManifest(repository, tag);
	if (now !== null && now !== digest) {
		throw new PageError(409, 'The tag has moved to another image meanwhile', 'Nothing was changed. Look at the tag again.');
	}
	return now !== null;
}

async function removeByName(repository, tag, digest) {
	const response = await deleteManifest(repository, tag);
	if ([401, 403, 429].includes(response.status) || response.status >= 500) throw await refusal(response);
	// Version 2 takes a digest here and nothing else.
	if (!response.ok && response.status !== 404) return false;
	return (await headManifest(repository, tag)) !== digest;
}

async function removeByThrowAway(repository, tag, original) {
	// A registry that deletes nothing must say so before the tag has moved.
	const probe = await deleteManifest(repository, NOBODYS);
	if (!probe.ok && probe.status !== 404) throw await refusal(probe);
	const throwAway = await makeThrowAway(repository, tag);
	const gone = await digestOf(throwAway);
	// As late as can be: who moves the tag between this look and the next request is overtaken.
	if (!(await isThere(repository, tag, original.digest))) return;
	try {
		await putManifest(repository, tag, throwAway, OCI_MANIFEST);
		const response = await deleteManifest(repository, gone);
		if (!response.ok && response.status !== 404) throw await refusal(response);
	} catch (error) {
		await putBack(repository, tag, original, gone, error);
		throw error;
	}
}

async function makeThrowAway(repository, tag) {
	await putBlob(repository, CONFIG_DIGEST, CONFIG);
	return new TextEncoder().encode(
		JSON.stringify({
			schemaVersion: 2,
			mediaType: OCI_MANIFEST,
			config: { mediaType: 'application/vnd.oci.image.config.v1+json', size: CONFIG.length, digest: CONFIG_DIGEST },
			layers: [],
			annotations: { [REMOVES]: tag, 'registry.wharf.unique': crypto.randomUUID() },
		}),
	);
}

async function putBack(repository, tag, original, gone, error) {
	try {
		if ((await headManifest(repository, tag)) === gone) await putManifest(repository, tag, original.content, original.type);
	} catch {
		throw new PageError(
			error.status,
			'The tag could not be deleted, nor be put back',
			`It may point to an empty image now. Delete it again, or point it to ${original.digest} with registry_tag.`,
			error.detail,
		);
	}
}
