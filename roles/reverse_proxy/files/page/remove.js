// The question before a tag is deleted, the deletion, and what came of it.
import { digestWhole } from './copy.js';
import { poll, tagDeleted } from './data.js';
import { announce, el } from './dom.js';
import { count } from './format.js';
import { button, facts, problem, tags } from './parts.js';
import { name, plain } from './text.js';
import { removeTag } from './untag.js';

function stays(siblings) {
	if (!siblings.length) {
		return el('p', 'No other tag of this repository points to this image. Its data stays until the next garbage collection, and then goes.');
	}
	return [
		el('p', siblings.length === 1 ? 'One other tag points to the same image, and stays:' : `${count(siblings.length)} other tags point to the same image, and stay:`),
		tags(siblings.map((tag) => name(tag, 128)), 20),
	];
}

function explained(error, repository) {
	if (error.status === 403) {
		error.title = 'The registry refused to delete the tag';
		error.cure = `Nothing was changed. Deleting needs the actions pull, push and delete in ${plain(repository)}. Ask the operator for a rule (reverse_proxy_users).`;
	} else if (error.status === 405) {
		error.title = 'Deleting is switched off';
		error.cure = 'Nothing was changed. Ask the operator to set registry_delete_enabled: true.';
	}
	return error;
}

export function confirmRemoval({ repository, tag, siblings, opener, removed }) {
	const result = el('div');
	const cancel = button('plain', 'Keep it', () => dialog.close());
	const confirm = button('danger', 'Delete the tag');
	const dialog = el('dialog', { 'aria-labelledby': 'remove-title', class: 'question' },
		el('h2', { id: 'remove-title' }, 'Delete the tag ', name(tag.name, 128), '?'),
		facts([['Repository', name(repository)], ['Tag', name(tag.name, 128)], ['Digest', digestWhole(tag.digest)]], 'details'),
		stays(siblings),
		el('p', 'Hosts that pull it by this tag cannot find it afterwards. This cannot be undone here: push or promote the image again to bring the tag back.'),
		result,
		el('p.actions', cancel, confirm));
	let busy = false;
	dialog.addEventListener('cancel', (event) => busy && event.preventDefault());
	dialog.addEventListener('close', () => {
		dialog.remove();
		if (opener.isConnected) opener.focus();
	});
	confirm.addEventListener('click', async () => {
		busy = true;
		confirm.disabled = true;
		cancel.disabled = true;
		confirm.textContent = 'Deleting …';
		result.replaceChildren();
		try {
			await removeTag(repository, tag.name, tag.digest, siblings);
			tagDeleted(repository, tag.name, tag.digest);
			dialog.close();
			removed(tag);
			// After the list has told how many are left.
			announce(`The tag ${plain(tag.name, 128)} was deleted.`, true);
			poll();
		} catch (error) {
			result.replaceChildren(problem(explained(error, repository)));
			confirm.textContent = 'Try again';
			confirm.disabled = false;
		} finally {
			busy = false;
			cancel.disabled = false;
		}
	});
	document.body.append(dialog);
	dialog.showModal();
	cancel.focus();
}
