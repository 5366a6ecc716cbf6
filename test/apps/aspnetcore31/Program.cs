// A fixture: an ordinary ASP.NET Core 3.1 application, started by the default host
// builder and nothing else, that tells what it saw and does on request what
// applications do. The same endpoints exist in ../node and ../go.

using System;
using System.Threading;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace Perch.Fixture
{
  public static class Program
  {
    public static int Main(string[] args)
    {
      Console.WriteLine("fixture: main entered");
      var delay = Environment.GetEnvironmentVariable("APP_START_DELAY_MS");
      if (!string.IsNullOrEmpty(delay)) Thread.Sleep(int.Parse(delay));

      Host.CreateDefaultBuilder(args)
        .ConfigureWebHostDefaults(web => web.UseStartup<Startup>())
        .Build()
        .Run();
      return 0;
    }
  }

  public class Startup
  {
    public void ConfigureServices(IServiceCollection services) => services.AddRouting();

    public void Configure(IApplicationBuilder app, IHostApplicationLifetime life)
    {
      app.UseWebSockets();
      app.UseRouting();
      var endpoints = new Endpoints(life);
      app.UseEndpoints(routes =>
      {
        routes.Map("/env", endpoints.Env);
        routes.Map("/process", endpoints.ProcessFacts);
        routes.Map("/echo", endpoints.Echo);
        routes.Map("/upload", endpoints.Upload);
        routes.Map("/download", endpoints.Download);
        routes.Map("/stream", endpoints.Stream);
        routes.Map("/sse", endpoints.Sse);
        routes.Map("/ws", endpoints.WebSocket);
        routes.Map("/slow", endpoints.Slow);
        routes.Map("/hang", endpoints.Hang);
        routes.Map("/abort-seen", endpoints.AbortSeen);
        routes.Map("/abort", endpoints.Abort);
        routes.Map("/throw", endpoints.Throw);
        routes.Map("/crash", endpoints.Crash);
        routes.Map("/exit", endpoints.Exit);
        routes.Map("/shutdown", endpoints.Shutdown);
        routes.Map("/status", endpoints.Status);
        routes.Map("/headers", endpoints.Headers);
        routes.Map("/spawn", endpoints.Spawn);
        routes.Map("/stdout", endpoints.Stdout);
        routes.Map("/stderr", endpoints.Stderr);
        routes.Map("/early", endpoints.Early);
        routes.Map("{**rest}", endpoints.Seen);
      });
    }
  }
}
