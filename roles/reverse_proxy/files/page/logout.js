// Makes the browser forget the password. It keeps one for each site and realm, and can't be told to drop it: it is given another one,
// which is right at /page/logout alone.
import { address } from './api.js';

const USER = 'logout';

export function logOut() {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open('GET', address('/page/logout'), true, USER, '');
    request.timeout = 10_000;
    request.addEventListener('loadend', () => resolve(request.status === 200));
    request.send();
  });
}
