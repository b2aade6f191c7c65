// The question before a tag is deleted, the deletion, and what came of it.
import { digestWhole } from './copy.js';
import { poll, tagDeleted } from './data.js';
import { announce, el } from './dom.js';
import { count } from './format.js';
import { facts, problem } from './parts.js';
import { name, plain } from './text.js';
import { removeTag } from './untag.js';

const MOST = 20;

function stays(siblings) {
  if (!siblings.length) {
    return el('p', null, 'No other tag of this repository points to this image. Its data stays until the next garbage collection, and then goes.');
  }
  return [
    el('p', null, siblings.length === 1 ? 'One other tag points to the same image, and stays:' : `${count(siblings.length)} other tags point to the same image, and stay:`),
    el('ul', { class: 'tags' }, siblings.slice(0, MOST).map((tag) => el('li', null, name(tag, 128))), siblings.length > MOST && el('li', null, `and ${count(siblings.length - MOST)} more`)),
  ];
}

// A refusal in the words of what was tried.
function explained(error, repository) {
  if (error.status === 403) {
    error.title = 'The registry refused to delete the tag';
    error.cure = `Nothing was changed. Deleting needs the rights to push and to delete in ${plain(repository)}, and a tag that is not immutable. Ask the operator (reverse_proxy_users, reverse_proxy_immutable_tags).`;
  } else if (error.status === 405) {
    error.title = 'This registry deletes nothing';
    error.cure = 'Nothing was changed. Ask the operator whether deleting is switched on.';
  }
  return error;
}

export function confirmRemoval({ repository, tag, siblings, opener, removed }) {
  const result = el('div');
  const cancel = el('button', { type: 'button', class: 'plain', on: { click: () => dialog.close() } }, 'Keep it');
  const confirm = el('button', { type: 'button', class: 'danger' }, 'Delete the tag');
  const dialog = el('dialog', { 'aria-labelledby': 'remove-title', class: 'question' },
    el('h2', { id: 'remove-title' }, 'Delete the tag ', name(tag.name, 128), '?'),
    facts([['Repository', name(repository)], ['Tag', name(tag.name, 128)], ['Digest', digestWhole(tag.digest)]], 'details'),
    stays(siblings),
    el('p', null, 'Hosts that pull it by this tag can’t find it afterwards. This can’t be undone here: push or promote the image again to bring the tag back.'),
    result,
    el('p', { class: 'actions' }, cancel, confirm));
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
      announce(`The tag ${plain(tag.name, 128)} was deleted.`, true);
      removed(tag);
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
