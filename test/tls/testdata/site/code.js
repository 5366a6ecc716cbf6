// What a browser does on a site, for TestClients: visit returns a JSON object.
'use strict';

function protocols() {
  const all = performance.getEntries().map((e) => e.nextHopProtocol).filter((p) => p !== undefined);
  return [...new Set(all)].join(' ');
}

// The sub-resources had their effect.
function page() {
  const text = document.getElementById('text');
  const color = getComputedStyle(text).color;
  const width = document.getElementById('picture').naturalWidth;
  return color === 'rgb(1, 2, 3)' && width === 7 ? text.textContent : `${color}, ${width} wide`;
}

async function upload() {
  const answer = await fetch('app/upload', { method: 'POST', body: new Uint8Array(1000000) });
  return (await answer.json()).bytes;
}

function events() {
  return new Promise((resolve) => {
    const all = [];
    const source = new EventSource('app/sse?n=3&ms=1');
    const end = () => { source.close(); resolve(all.join(' ')); };
    source.onmessage = (e) => { if (all.push(e.data) === 3) end(); };
    source.onerror = () => { all.push('failed'); end(); };
  });
}

function webSocket() {
  return new Promise((resolve) => {
    let got = '';
    const socket = new WebSocket(new URL('app/ws', location.href.replace('http', 'ws')));
    socket.onopen = () => socket.send('hello');
    socket.onmessage = (e) => { got = e.data; socket.send('close'); };
    socket.onclose = (e) => resolve(`${got} ${e.code} ${e.reason}`);
  });
}

async function visit() {
  const result = { Page: page(), Uploaded: await upload(), Events: await events(), WebSocket: await webSocket() };
  result.Protocol = protocols();
  return JSON.stringify(result);
}
