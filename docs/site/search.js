// Finds words in the pages: each must occur, and a title counts more than the text. The
// index is a script, so that this works from a disk too.
'use strict';
const input = document.getElementById('search');
const list = document.getElementById('found');

function rate(entry, words) {
  let sum = 0;
  for (const word of words) {
    const inTitle = entry.title.toLowerCase().includes(word);
    if (!inTitle && !entry.text.toLowerCase().includes(word)) return 0;
    sum += inTitle ? (entry.title.toLowerCase() === word ? 20 : 5) : 1;
  }
  return sum;
}

function show() {
  const words = input.value.toLowerCase().split(/\s+/).filter((word) => word !== '');
  list.replaceChildren();
  list.hidden = words.length === 0;
  if (list.hidden) return;
  const found = window.pageIndex.map((entry) => [rate(entry, words), entry])
    .filter(([rated]) => rated > 0)
    .sort(([a], [b]) => b - a)
    .slice(0, 12);
  for (const [, entry] of found) {
    const link = document.createElement('a');
    const at = Math.max(0, entry.text.toLowerCase().indexOf(words[0]) - 30);
    link.href = `${input.dataset.base}/${entry.location}`;
    link.append(Object.assign(document.createElement('b'), {textContent: entry.title}));
    link.append(` ${entry.text.slice(at, at + 120)}`);
    const item = document.createElement('li');
    item.append(link);
    list.append(item);
  }
  if (found.length === 0) list.append('Nothing found');
}

input.addEventListener('input', show);
document.addEventListener('keydown', (event) => {
  if (event.key === '/' && document.activeElement !== input) {
    event.preventDefault();
    input.focus();
  } else if (event.key === 'Escape') {
    input.value = '';
    show();
  }
});
