using System;
using System.Collections;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Net.WebSockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Hosting;

namespace Perch.Fixture
{
  public class Endpoints
  {
    readonly IHostApplicationLifetime life;
    readonly ConcurrentDictionary<string, bool> aborted = new ConcurrentDictionary<string, bool>();

    public Endpoints(IHostApplicationLifetime life) => this.life = life;

    static int Number(HttpContext c, string name, int fallback) =>
      c.Request.Query.TryGetValue(name, out var v) ? int.Parse(v) : fallback;

    static string Text(HttpContext c, string name, string fallback = "") =>
      c.Request.Query.TryGetValue(name, out var v) ? v.ToString() : fallback;

    static Task Json(HttpContext c, object value)
    {
      c.Response.ContentType = "application/json";
      return c.Response.WriteAsync(JsonSerializer.Serialize(value));
    }

    public Task Seen(HttpContext c) => Json(c, new Dictionary<string, object>
    {
      ["app"] = "aspnetcore31",
      ["scheme"] = c.Request.Scheme,
      ["host"] = c.Request.Host.ToString(),
      ["pathBase"] = c.Request.PathBase.Value ?? "",
      ["path"] = c.Request.Path.Value ?? "",
      ["rawTarget"] = c.Features.Get<IHttpRequestFeature>().RawTarget,
      ["query"] = c.Request.QueryString.Value ?? "",
      ["remote"] = new System.Net.IPEndPoint(c.Connection.RemoteIpAddress, c.Connection.RemotePort).ToString(),
      ["protocol"] = c.Request.Protocol,
      ["method"] = c.Request.Method,
      ["user"] = c.User?.Identity?.Name ?? "",
      ["upgradable"] = c.Features.Get<IHttpUpgradeFeature>()?.IsUpgradableRequest ?? false,
      ["pid"] = Process.GetCurrentProcess().Id,
      ["headers"] = c.Request.Headers.SelectMany(h => h.Value.Select(v => new[] { h.Key, v })).ToArray(),
    });

    public Task Env(HttpContext c) => Json(c, Environment.GetEnvironmentVariables()
      .Cast<DictionaryEntry>().ToDictionary(e => (string)e.Key, e => (string)e.Value));

    public Task ProcessFacts(HttpContext c) => Json(c, new Dictionary<string, object>
    {
      ["pid"] = Process.GetCurrentProcess().Id,
      ["cwd"] = Directory.GetCurrentDirectory(),
      ["args"] = Environment.GetCommandLineArgs().Skip(1).ToArray(),
      ["base"] = AppContext.BaseDirectory,
    });

    public async Task Echo(HttpContext c)
    {
      if (c.Request.ContentType != null) c.Response.ContentType = c.Request.ContentType;
      var buffer = new byte[16384];
      int n;
      while ((n = await c.Request.Body.ReadAsync(buffer, 0, buffer.Length)) > 0)
      {
        await c.Response.Body.WriteAsync(buffer, 0, n);
        await c.Response.Body.FlushAsync();
      }
    }

    public async Task Upload(HttpContext c)
    {
      using var hash = SHA256.Create();
      var buffer = new byte[65536];
      long total = 0;
      int n;
      while ((n = await c.Request.Body.ReadAsync(buffer, 0, buffer.Length)) > 0)
      {
        hash.TransformBlock(buffer, 0, n, null, 0);
        total += n;
      }
      hash.TransformFinalBlock(buffer, 0, 0);
      await Json(c, new Dictionary<string, object>
      {
        ["bytes"] = total,
        ["sha256"] = BitConverter.ToString(hash.Hash).Replace("-", "").ToLowerInvariant(),
        ["trailers"] = c.Request.SupportsTrailers() && c.Request.CheckTrailersAvailable()
          ? c.Features.Get<IHttpRequestTrailersFeature>().Trailers.ToDictionary(t => t.Key, t => t.Value.ToString())
          : new Dictionary<string, string>(),
      });
    }

    // The byte at offset i is i modulo 251, so that a lost or doubled piece shows.
    public async Task Download(HttpContext c)
    {
      long left = Number(c, "bytes", 0), at = 0;
      c.Response.ContentType = "application/octet-stream";
      if (!c.Request.Query.ContainsKey("chunked")) c.Response.ContentLength = left;
      if (HttpMethods.IsHead(c.Request.Method)) return;
      var buffer = new byte[65536];
      while (left > 0)
      {
        var n = (int)Math.Min(left, buffer.Length);
        for (var i = 0; i < n; i++) buffer[i] = (byte)((at + i) % 251);
        await c.Response.Body.WriteAsync(buffer, 0, n);
        at += n;
        left -= n;
      }
    }

    public async Task Stream(HttpContext c)
    {
      c.Response.ContentType = "text/plain";
      for (var i = 0; i < Number(c, "n", 3); i++)
      {
        if (i > 0) await Task.Delay(Number(c, "ms", 10), c.RequestAborted);
        await c.Response.WriteAsync($"piece {i}\n");
        await c.Response.Body.FlushAsync();
      }
    }

    public async Task Sse(HttpContext c)
    {
      c.Response.ContentType = "text/event-stream";
      c.Response.Headers["Cache-Control"] = "no-cache";
      for (var i = 0; i < Number(c, "n", 3); i++)
      {
        if (i > 0) await Task.Delay(Number(c, "ms", 10), c.RequestAborted);
        await c.Response.WriteAsync($"data: {i}\n\n");
        await c.Response.Body.FlushAsync();
      }
    }

    public async Task WebSocket(HttpContext c)
    {
      if (!c.WebSockets.IsWebSocketRequest)
      {
        c.Response.StatusCode = 400;
        await c.Response.WriteAsync("not a WebSocket request");
        return;
      }
      var wanted = c.WebSockets.WebSocketRequestedProtocols.FirstOrDefault();
      using var socket = await c.WebSockets.AcceptWebSocketAsync(wanted);
      using var stop = life.ApplicationStopping.Register(() =>
        socket.CloseOutputAsync(WebSocketCloseStatus.EndpointUnavailable, "stopping", CancellationToken.None));
      var buffer = new byte[65536];
      while (true)
      {
        var got = await socket.ReceiveAsync(new ArraySegment<byte>(buffer), CancellationToken.None);
        if (got.MessageType == WebSocketMessageType.Close)
        {
          if (socket.State == WebSocketState.CloseReceived)
            await socket.CloseOutputAsync(got.CloseStatus ?? WebSocketCloseStatus.NormalClosure, got.CloseStatusDescription, CancellationToken.None);
          return;
        }
        var text = got.EndOfMessage && got.MessageType == WebSocketMessageType.Text
          ? Encoding.UTF8.GetString(buffer, 0, got.Count) : "";
        if (text == "close")
        {
          await socket.CloseAsync(WebSocketCloseStatus.NormalClosure, "bye", CancellationToken.None);
          return;
        }
        await socket.SendAsync(new ArraySegment<byte>(buffer, 0, got.Count), got.MessageType, got.EndOfMessage, CancellationToken.None);
      }
    }

    public async Task Slow(HttpContext c)
    {
      await Task.Delay(Number(c, "ms", 100));
      await c.Response.WriteAsync("slow");
    }

    public async Task Hang(HttpContext c)
    {
      var id = Text(c, "id", "0");
      aborted[id] = false;
      if (c.Request.Query.ContainsKey("head"))
      {
        await c.Response.WriteAsync("begun\n");
        await c.Response.Body.FlushAsync();
      }
      try
      {
        await Task.Delay(Timeout.Infinite, c.RequestAborted);
      }
      catch (OperationCanceledException)
      {
        aborted[id] = true;
      }
    }

    public Task AbortSeen(HttpContext c)
    {
      var known = aborted.TryGetValue(Text(c, "id", "0"), out var seen);
      return Json(c, new Dictionary<string, object> { ["hanging"] = known && !seen, ["seen"] = seen });
    }

    // Cuts the connection: before the head, or behind a first piece of the body.
    public async Task Abort(HttpContext c)
    {
      if (c.Request.Query.ContainsKey("head"))
      {
        c.Response.ContentLength = 1000;
        await c.Response.WriteAsync("begun\n");
        await c.Response.Body.FlushAsync();
      }
      c.Abort();
    }

    public Task Throw(HttpContext c) => throw new InvalidOperationException("thrown as told");

    public Task Crash(HttpContext c)
    {
      Process.GetCurrentProcess().Kill();
      return Task.Delay(Timeout.Infinite);
    }

    public Task Exit(HttpContext c)
    {
      Environment.Exit(Number(c, "code", 0));
      return Task.CompletedTask;
    }

    public Task Shutdown(HttpContext c)
    {
      life.StopApplication();
      return c.Response.WriteAsync("stopping");
    }

    public async Task Status(HttpContext c)
    {
      c.Response.StatusCode = Number(c, "code", 200);
      if (c.Request.Query.ContainsKey("reason"))
        c.Features.Get<IHttpResponseFeature>().ReasonPhrase = Text(c, "reason");
      if (c.Request.Query.ContainsKey("body"))
        await c.Response.WriteAsync(Text(c, "body"));
    }

    public Task Headers(HttpContext c)
    {
      foreach (var q in c.Request.Query) c.Response.Headers.Append(q.Key, q.Value);
      return c.Response.WriteAsync("headers");
    }

    // A process that left the session and whose parent has ended.
    public async Task Spawn(HttpContext c)
    {
      var start = new ProcessStartInfo("/bin/sh") { RedirectStandardOutput = true };
      start.ArgumentList.Add("-c");
      start.ArgumentList.Add("setsid sleep 600 >/dev/null 2>&1 & echo $!");
      using var shell = Process.Start(start);
      await c.Response.WriteAsync((await shell.StandardOutput.ReadToEndAsync()).Trim());
    }

    public Task Stdout(HttpContext c)
    {
      Console.Out.WriteLine(Text(c, "text"));
      return c.Response.WriteAsync("written");
    }

    public Task Stderr(HttpContext c)
    {
      Console.Error.WriteLine(Text(c, "text"));
      return c.Response.WriteAsync("written");
    }

    // Answers without reading the body.
    public Task Early(HttpContext c)
    {
      c.Response.StatusCode = Number(c, "code", 200);
      return c.Response.WriteAsync("early");
    }
  }
}
