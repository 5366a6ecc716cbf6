package merge_test

import (
	"fmt"

	"github.com/perchserver/perch/internal/config/merge"
)

// The sites of an applicationHost.config, with defaults applied and the place
// that every value came from.
func Example() {
	server, problems := merge.Source{Path: "applicationHost.config", Server: true, Data: []byte(`<configuration>
  <system.applicationHost>
    <sites>
      <site name="Shop" id="1">
        <application path="/">
          <virtualDirectory path="/" physicalPath="/srv/shop" />
        </application>
        <bindings>
          <binding protocol="http" bindingInformation="*:80:" />
        </bindings>
      </site>
      <applicationDefaults applicationPool="DefaultAppPool" />
    </sites>
  </system.applicationHost>
</configuration>`)}.Load()
	if problems.HasErrors() {
		fmt.Println(problems.Err())
		return
	}
	settings, _ := merge.Effective([]merge.Layer{{File: server}}, "", nil)
	for _, site := range settings.Section("system.applicationHost/sites").Entries() {
		fmt.Println(site.Text("name"), site.Pos())
		for _, b := range site.Child("bindings").Entries() {
			fmt.Println(b.Text("protocol"), b.Text("bindingInformation"), b.Attribute("bindingInformation").Pos)
		}
		for _, app := range site.Entries() {
			fmt.Println(app.Text("path"), app.Text("applicationPool"), app.Attribute("applicationPool").Pos)
			for _, dir := range app.Entries() {
				fmt.Println(dir.Text("path"), dir.Text("physicalPath"))
			}
		}
		fmt.Println(site.Child("limits").Duration("connectionTimeout")) // not set: IIS's default
	}
	// Output:
	// Shop applicationHost.config:4:7
	// http *:80: applicationHost.config:9:36
	// / DefaultAppPool applicationHost.config:12:28
	// / /srv/shop
	// 2m0s
}
