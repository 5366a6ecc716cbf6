package recognize

import (
	"bytes"
	"encoding/xml"
)

// WebConfig returns the web.config that hosts an application the way it was
// recognised, in the shape that publishing gives it. IIS takes it too.
func WebConfig(a App) []byte {
	var b bytes.Buffer
	b.WriteString(`<?xml version="1.0" encoding="utf-8"?>
<configuration>
  <location path="." inheritInChildApplications="false">
    <system.webServer>
`)
	switch a.Section {
	case "aspNetCore":
		handler(&b, "aspNetCore", "AspNetCoreModuleV2")
		// Perch hosts out of process whatever the model says.
		a.section(&b, a.Environment, ` hostingModel="outofprocess"`)
	case "httpPlatform":
		handler(&b, "httpPlatformHandler", "httpPlatformHandler")
		// Perch gives the port in PORT by itself, IIS does not.
		a.section(&b, append([]Variable{{"PORT", portVariable}}, a.Environment...), "")
	default:
		b.WriteString("      <defaultDocument enabled=\"true\" />\n")
	}
	b.WriteString(`    </system.webServer>
  </location>
</configuration>
`)
	return b.Bytes()
}

func handler(b *bytes.Buffer, name, module string) {
	b.WriteString("      <handlers>\n        <add")
	attribute(b, "name", name)
	b.WriteString(` path="*" verb="*"`)
	attribute(b, "modules", module)
	b.WriteString(" resourceType=\"Unspecified\" />\n      </handlers>\n")
}

// section writes the section of a, with attributes of its own at the end.
func (a App) section(b *bytes.Buffer, environment []Variable, more string) {
	b.WriteString("      <" + a.Section)
	attribute(b, "processPath", a.ProcessPath)
	if a.Arguments != "" {
		attribute(b, "arguments", a.Arguments)
	}
	b.WriteString(` stdoutLogEnabled="false" stdoutLogFile=".\logs\stdout"` + more)
	if len(environment) == 0 {
		b.WriteString(" />\n")
		return
	}
	b.WriteString(">\n        <environmentVariables>\n")
	for _, v := range environment {
		b.WriteString("          <environmentVariable")
		attribute(b, "name", v.Name)
		attribute(b, "value", v.Value)
		b.WriteString(" />\n")
	}
	b.WriteString("        </environmentVariables>\n      </" + a.Section + ">\n")
}

func attribute(b *bytes.Buffer, name, value string) {
	b.WriteString(" " + name + `="`)
	// A bytes.Buffer takes every write.
	_ = xml.EscapeText(b, []byte(value))
	b.WriteByte('"')
}
