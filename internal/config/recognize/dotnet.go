package recognize

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

const runtimeConfig = ".runtimeconfig.json"

// runtimeOptions is what matters of a *.runtimeconfig.json.
type runtimeOptions struct {
	Framework          *framework  `json:"framework"`
	Frameworks         []framework `json:"frameworks"`
	IncludedFrameworks []framework `json:"includedFrameworks"`
}

type framework struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// web reports whether the application refers to ASP.NET Core.
func (o *runtimeOptions) web() bool {
	all := slices.Concat(o.Frameworks, o.IncludedFrameworks)
	if o.Framework != nil {
		all = append(all, *o.Framework)
	}
	return slices.ContainsFunc(all, func(f framework) bool { return strings.HasPrefix(f.Name, "Microsoft.AspNetCore.") })
}

// dotnet recognises a published .NET application by X.runtimeconfig.json.
func dotnet(f *folder) (App, error) {
	stems := f.withSuffix(runtimeConfig)
	if len(stems) == 0 {
		return App{}, errNothing
	}
	options := map[string]*runtimeOptions{}
	for _, stem := range stems {
		var file struct {
			RuntimeOptions runtimeOptions `json:"runtimeOptions"`
		}
		name := stem + runtimeConfig
		data, err := f.text(name)
		if err == nil {
			err = json.Unmarshal(data, &file)
		}
		if err != nil {
			return App{}, jsonError(f.path(name), data, err, "publish the application again")
		}
		options[stem] = &file.RuntimeOptions
	}
	// A project that another one refers to is published with it: of several,
	// the web application is meant.
	if len(stems) > 1 {
		web := slices.DeleteFunc(slices.Clone(stems), func(s string) bool { return !options[s].web() })
		if len(web) != 1 {
			return App{}, fmt.Errorf("%s holds several .NET applications (%s): say which by a Procfile with a line such as `web: dotnet %s.dll`, or by a web.config",
				f.dir, strings.Join(stems, ", "), stems[0])
		}
		stems = web
	}
	stem := stems[0]
	if len(options[stem].IncludedFrameworks) > 0 || f.anyOf("libhostfxr.so", "hostfxr.dll", "libhostfxr.dylib") != "" {
		return selfContained(f, stem)
	}
	if !f.files[stem+".dll"] {
		return App{}, fmt.Errorf("%s has no %s.dll beside it: publish the application again", f.path(stem+runtimeConfig), stem)
	}
	return App{
		Kind: DotNet, Section: "aspNetCore",
		ProcessPath: "dotnet", Arguments: quote(`.\` + stem + ".dll"),
		Why: fmt.Sprintf("%s%s belongs to a framework-dependent .NET application", stem, runtimeConfig),
	}, nil
}

// selfContained finds the program of an application that brings its runtime.
func selfContained(f *folder, stem string) (App, error) {
	for _, name := range []string{stem, stem + ".exe"} {
		if !f.files[name] {
			continue
		}
		switch format := f.format(name); format {
		case native:
			return App{
				Kind: DotNetOwn, Section: "aspNetCore",
				ProcessPath: `.\` + name,
				Why:         fmt.Sprintf("%s is the program of a self-contained .NET application", name),
			}, nil
		case noProgram:
		default:
			return App{}, f.foreign(name, format)
		}
	}
	return App{}, fmt.Errorf("%s belongs to a self-contained .NET application, and its program %s is not there: publish the application again",
		f.path(stem+runtimeConfig), stem)
}

// singleFile recognises a .NET application that was published as one file.
func singleFile(f *folder) (App, error) {
	var found []string
	var foreign error
	for _, name := range f.names {
		format := f.format(name)
		if format == noProgram {
			continue
		}
		is, err := isBundle(f.path(name))
		switch {
		case err != nil:
			return App{}, fmt.Errorf("cannot read %w", err)
		case !is:
		case format == native:
			found = append(found, name)
		default:
			foreign = f.foreign(name, format)
		}
	}
	switch {
	case len(found) == 1:
		return App{
			Kind: DotNetSingle, Section: "aspNetCore",
			ProcessPath: `.\` + found[0],
			Why:         found[0] + " is a single-file .NET application",
		}, nil
	case len(found) > 1:
		return App{}, fmt.Errorf("%s holds several single-file .NET applications (%s): say which by a Procfile with a line such as `web: ./%s`, or by a web.config",
			f.dir, strings.Join(found, ", "), found[0])
	case foreign != nil:
		return App{}, foreign
	}
	return App{}, errNothing
}

// foreign is the error for a program of another system.
func (f *folder) foreign(name string, format format) error {
	return fmt.Errorf("%s was published for %s: publish the application for this system, for example with `dotnet publish -r %s`, or without -r",
		f.path(name), format, runtimeIdentifier())
}

// runtimeIdentifier is what .NET calls this system.
func runtimeIdentifier() string {
	if runtime.GOARCH == "amd64" {
		return nativeSystem + "-x64"
	}
	return nativeSystem + "-" + runtime.GOARCH
}

// Framework returns the path of a file by which a folder is an application of
// ASP.NET for the .NET Framework, which nothing but IIS runs; empty if there is
// none.
func Framework(dir string) string {
	f, err := open(dir)
	if err != nil {
		return ""
	}
	if sign := f.framework(); sign != "" {
		return f.path(sign)
	}
	return ""
}

func (f *folder) framework() string {
	for _, name := range f.names {
		switch lower := strings.ToLower(name); filepath.Ext(lower) {
		case ".asax", ".ascx", ".ashx", ".asmx", ".aspx", ".svc":
			return name
		default:
			if lower == "precompiledapp.config" {
				return name
			}
		}
	}
	return ""
}
