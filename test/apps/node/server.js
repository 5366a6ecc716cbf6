// A fixture: an ordinary express and ws application that tells what it saw and
// does on request what applications do. The same endpoints exist in
// ../aspnetcore31 and ../go.
'use strict';

const crypto = require('crypto');
const http = require('http');
const { once } = require('events');
const { execFile } = require('child_process');
const express = require('express');
const { WebSocketServer } = require('ws');

const app = express();
app.disable('x-powered-by');
app.set('etag', false);

const number = (req, name, fallback) => (name in req.query ? parseInt(req.query[name], 10) : fallback);
const text = (req, name) => (name in req.query ? String(req.query[name]) : '');
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// last returns the right-most entry of a list field: what the nearest proxy said.
const last = (value) => (value || '').split(',').pop().trim();

app.all('/env', (req, res) => res.json(process.env));

app.all('/process', (req, res) => res.json({ pid: process.pid, cwd: process.cwd(), args: process.argv.slice(1) }));

app.all('/echo', (req, res) => {
  if (req.headers['content-type']) res.setHeader('Content-Type', req.headers['content-type']);
  if ('trailers' in req.query) res.setHeader('Trailer', 'X-Check');
  req.on('data', (piece) => { if (!res.write(piece)) { req.pause(); res.once('drain', () => req.resume()); } });
  req.on('end', () => {
    if ('trailers' in req.query) res.addTrailers({ 'X-Check': 'echoed', 'X-Request-Trailer': req.trailers['x-sent'] || '' });
    res.end();
  });
});

app.all('/upload', (req, res) => {
  const hash = crypto.createHash('sha256');
  let bytes = 0;
  req.on('data', (piece) => { bytes += piece.length; hash.update(piece); });
  req.on('end', () => res.json({ bytes, sha256: hash.digest('hex'), trailers: req.trailers }));
});

// The byte at offset i is i modulo 251, so that a lost or doubled piece shows.
app.all('/download', async (req, res) => {
  let left = number(req, 'bytes', 0);
  res.setHeader('Content-Type', 'application/octet-stream');
  if (!('chunked' in req.query)) res.setHeader('Content-Length', left);
  if (req.method === 'HEAD') return res.end();
  const gone = new AbortController();
  res.on('close', () => gone.abort());
  for (let at = 0; left > 0;) {
    const piece = Buffer.allocUnsafe(Math.min(left, 65536));
    for (let i = 0; i < piece.length; i++) piece[i] = (at + i) % 251;
    if (!res.write(piece)) {
      try {
        await once(res, 'drain', { signal: gone.signal });
      } catch {
        return undefined; // the client has gone
      }
    }
    at += piece.length;
    left -= piece.length;
  }
  return res.end();
});

app.all('/stream', async (req, res) => {
  res.setHeader('Content-Type', 'text/plain');
  for (let i = 0; i < number(req, 'n', 3) && !res.destroyed; i++) {
    if (i > 0) await pause(number(req, 'ms', 10));
    res.write(`piece ${i}\n`);
  }
  res.end();
});

app.all('/sse', async (req, res) => {
  res.setHeader('Content-Type', 'text/event-stream');
  res.setHeader('Cache-Control', 'no-cache');
  for (let i = 0; i < number(req, 'n', 3) && !res.destroyed; i++) {
    if (i > 0) await pause(number(req, 'ms', 10));
    res.write(`data: ${i}\n\n`);
  }
  res.end();
});

app.all('/slow', async (req, res) => { await pause(number(req, 'ms', 100)); res.send('slow'); });

const aborted = new Map();
app.all('/hang', (req, res) => {
  const id = text(req, 'id') || '0';
  aborted.set(id, false);
  if ('head' in req.query) res.write('begun\n');
  res.on('close', () => aborted.set(id, true));
});
app.all('/abort-seen', (req, res) => {
  const id = text(req, 'id') || '0';
  res.json({ hanging: aborted.get(id) === false, seen: aborted.get(id) === true });
});

// Cuts the connection: before the head, or behind a first piece of the body.
app.all('/abort', (req, res) => {
  if (!('head' in req.query)) return req.socket.destroy();
  res.setHeader('Content-Length', 1000);
  return res.write('begun\n', () => req.socket.end());
});

app.all('/crash', () => process.kill(process.pid, 'SIGKILL'));
app.all('/exit', (req) => process.exit(number(req, 'code', 0)));

app.all('/status', (req, res) => {
  res.statusCode = number(req, 'code', 200);
  if ('reason' in req.query) res.statusMessage = text(req, 'reason');
  res.end(text(req, 'body'));
});

app.all('/headers', (req, res) => {
  for (const [name, value] of new URLSearchParams(req.url.split('?')[1] || '')) {
    const before = res.getHeader(name);
    res.setHeader(name, before === undefined ? value : [].concat(before, value));
  }
  res.end('headers');
});

// A process that left the session and whose parent has ended.
app.all('/spawn', (req, res, next) => {
  execFile('/bin/sh', ['-c', 'setsid sleep 600 >/dev/null 2>&1 & echo $!'], (err, out) => (err ? next(err) : res.end(out.trim())));
});

app.all('/stdout', (req, res) => { process.stdout.write(`${text(req, 'text')}\n`, () => res.end('written')); });
app.all('/stderr', (req, res) => { process.stderr.write(`${text(req, 'text')}\n`, () => res.end('written')); });

// Answers without reading the body.
app.all('/early', (req, res) => { res.statusCode = number(req, 'code', 200); res.end('early'); });

app.use((req, res) => {
  const target = req.originalUrl;
  const mark = target.indexOf('?');
  const headers = [];
  for (let i = 0; i < req.rawHeaders.length; i += 2) headers.push([req.rawHeaders[i], req.rawHeaders[i + 1]]);
  res.json({
    app: 'node',
    scheme: last(req.headers['x-forwarded-proto']) || 'http',
    host: req.headers.host,
    pathBase: '',
    path: decodeURIComponent(mark < 0 ? target : target.slice(0, mark)),
    rawTarget: target,
    query: mark < 0 ? '' : target.slice(mark),
    remote: last(req.headers['x-forwarded-for']),
    protocol: `HTTP/${req.httpVersion}`,
    method: req.method,
    pid: process.pid,
    headers,
  });
});

const server = http.createServer(app);
const sockets = new WebSocketServer({ server, path: '/ws', handleProtocols: (set) => [...set][0] });
sockets.on('connection', (socket) => {
  socket.on('message', (data, binary) => {
    if (!binary && data.toString() === 'close') socket.close(1000, 'bye');
    else socket.send(data, { binary });
  });
});

process.on('SIGTERM', () => {
  for (const socket of sockets.clients) socket.close(1001, 'stopping');
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});

console.log('fixture: main entered');
setTimeout(() => server.listen(process.env.PORT || 3000, '127.0.0.1'), Number(process.env.APP_START_DELAY_MS || 0));
