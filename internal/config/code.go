package config

//go:generate env UPDATE=1 go test -run TestProblemsPage .

// Code names a kind of problem for programs, search engines and the reference
// page. A code never changes its meaning and is never used again.
type Code string

// The codes. Those of one ten belong to one step of reading a file.
const (
	NotText      Code = "PC001"
	TooLarge     Code = "PC002"
	BadXML       Code = "PC003"
	CrossedTags  Code = "PC004"
	DocumentType Code = "PC005"
	BadReference Code = "PC006"
	TwiceOnTag   Code = "PC007"
	Unreadable   Code = "PC008"

	WrongRoot        Code = "PC010"
	UnknownSection   Code = "PC011"
	UnknownElement   Code = "PC012"
	UnknownAttribute Code = "PC013"
	StrayText        Code = "PC014"
	ElementTwice     Code = "PC015"
	MissingAttribute Code = "PC016"
	WrongType        Code = "PC017"
	OutOfRange       Code = "PC018"
	EmptyValue       Code = "PC019"

	BadLocation    Code = "PC020"
	NestedLocation Code = "PC021"
	SectionTwice   Code = "PC022"
	WrongFile      Code = "PC023"
	BadInclude     Code = "PC024"

	DuplicateKey  Code = "PC030"
	LockedSection Code = "PC031"
	LockedPart    Code = "PC032"

	NotDone          Code = "PC040"
	NotDoneRestricts Code = "PC041"
	NotDoneRefused   Code = "PC042"

	BadBinding      Code = "PC050"
	BindingTaken    Code = "PC051"
	UnknownPool     Code = "PC052"
	NoPhysicalPath  Code = "PC053"
	NoRoot          Code = "PC054"
	NoCertificate   Code = "PC055"
	BadCertificate  Code = "PC056"
	NoProgram       Code = "PC057"
	LinkLoop        Code = "PC058"
	NoHandler       Code = "PC059"
	TooManyFolders  Code = "PC060"
	TwinFolders     Code = "PC061"
	ClosedFolder    Code = "PC062"
	NoApplication   Code = "PC063"
	NeverReached    Code = "PC064"
	OtherProtocol   Code = "PC065"
	NoBinding       Code = "PC066"
	NothingListens  Code = "PC067"
	DotNetFramework Code = "PC068"
	LinkOut         Code = "PC069"
	NoSite          Code = "PC070"
)

// Explanation is what the reference says of a code.
type Explanation struct {
	Code     Code
	Severity Severity
	Title    string // what happened, in a few words
	Help     string // why it matters and how to mend it
}

// explanations is in the order of the codes.
var explanations = [...]Explanation{
	{NotText, Error, "the file is not readable as text",
		"A configuration file is UTF-8, with or without a byte order mark, or UTF-16. Save it as UTF-8 and let its XML declaration say so."},
	{TooLarge, Error, "the file is too large, too deep or has too many parts",
		"A file may have 10 MiB, 100 levels of elements, and 500,000 elements, attributes and texts."},
	{BadXML, Error, "the file is not well-formed XML",
		"The text at this place is not allowed by XML 1.0."},
	{CrossedTags, Error, "a start tag and an end tag do not fit",
		"Every element is closed by its own end tag, and before the element around it ends."},
	{DocumentType, Error, "the file has a document type declaration",
		"DOCTYPE is refused, because the entities it may define can make a small file huge and can read other files. Remove it."},
	{BadReference, Error, "a reference that XML does not know",
		"Without a document type there are &lt; &gt; &amp; &apos; &quot; and character references such as &#10;. Write &amp; for the character & itself."},
	{TwiceOnTag, Error, "an attribute is set twice on one element",
		"Keep one of the two."},
	{Unreadable, Error, "the file cannot be read",
		"Look whether it is there, whether it is a file, and whether the user that Perch runs as may read it."},

	{WrongRoot, Error, "the root element is not <configuration>",
		"Every configuration file has the root element <configuration>, in this spelling."},
	{UnknownSection, Error, "a section that nobody knows",
		"Names are case-sensitive, and a section stands in its group: <aspNetCore> inside <system.webServer>. A section of another program is declared in <configSections>."},
	{UnknownElement, Error, "an element that its section does not have",
		"Look at the names that are expected here; names are case-sensitive."},
	{UnknownAttribute, Error, "an attribute that its element does not have",
		"Look at the names that are expected here; names are case-sensitive."},
	{StrayText, Error, "text where only elements may stand",
		"Sections hold their values in attributes. Remove the text, or make it a comment."},
	{ElementTwice, Error, "an element is given twice in one section",
		"Put the contents of both into one."},
	{MissingAttribute, Error, "a required attribute is missing",
		"Add the attribute."},
	{WrongType, Error, "a value is not of its attribute's type",
		"Booleans are true or false, numbers decimal, time spans [d.]hh:mm:ss with minutes and seconds below 60."},
	{OutOfRange, Error, "a value is outside the range of its attribute",
		"Choose a value in the range that is named."},
	{EmptyValue, Error, "a value is empty that must not be",
		"Give a value. If it is made of %NAME% variables, look whether they are set and empty."},

	{BadLocation, Error, "a <location> whose attributes are wrong",
		"The path is relative, without a leading slash, wildcards or dot segments; overrideMode and allowOverride exclude each other."},
	{NestedLocation, Error, "a <location> inside another element",
		"<location> stands directly below <configuration>."},
	{SectionTwice, Error, "one section is given twice for one path",
		"A file may have a section once for every path. No <location>, path=\"\" and path=\".\" are the same path."},
	{WrongFile, Error, "a section that may not stand in this file",
		"Sections of the server as a whole stand in applicationHost.config only, and some others only at the root of an application."},
	{BadInclude, Error, "a configSource that cannot be followed",
		"It names a file in the folder of the file that it stands in, or below it. That file has the section as its root element, and includes nothing itself."},

	{DuplicateKey, Error, "a collection has an entry with this key already",
		"The entry may be inherited from a file higher up. Put a <remove> of that key, or <clear/>, before it."},
	{LockedSection, Error, "a section that a file higher up has locked",
		"The <location> of the other file says overrideMode=\"Deny\" (or allowOverride=\"false\") for this section, or IIS locks it unless somebody opens it. Take it out here, or open it there, as `perch unlock` does."},
	{LockedPart, Error, "an attribute, element or entry that a file higher up has locked",
		"The other file says so with lockAttributes, lockElements, lockItem or one of their kin. Take it out here, or open it there."},

	{NotDone, Warning, "known, but not done yet",
		"IIS would obey this setting. Perch knows it and goes on without it."},
	{NotDoneRestricts, Warning, "known, but not done yet: access is not restricted by it",
		"IIS would restrict access by this setting. Perch does not do it yet, so what it should keep out gets in. Restrict access in the application or in front of Perch."},
	{NotDoneRefused, Error, "known, but not done yet, and not safe to leave out",
		"Without obeying this setting Perch would run with values that nobody chose. Write the values into the section itself."},

	{BadBinding, Error, "a binding that says nothing",
		"The bindingInformation of http and https is address:port:host: \"*:80:\", \"*:443:shop.example\", \"[::1]:8080:\"."},
	{BindingTaken, Error, "a binding that another site has already",
		"The first site of the file has it, and the second one is not served there. Give one of them another host name, port or address."},
	{UnknownPool, Error, "an application pool that does not exist",
		"The application names it, and answers 503 as long as it is not there. Add it to applicationPools, or name another."},
	{NoPhysicalPath, Error, "a virtual directory whose folder is not there",
		"Create the folder, or correct physicalPath. Back-slashes and %NAME% are understood."},
	{NoRoot, Error, "a site without an application \"/\", or an application without a virtual directory \"/\"",
		"Every site has exactly one application with the path \"/\", and every application one virtual directory with the path \"/\"."},
	{NoCertificate, Error, "an https binding without a certificate of its own",
		"IIS keeps the certificate outside of the file. Perch reads it from certificateFile: a PEM file, a PFX file (with certificatePassword or certificatePasswordFile), or a folder with one for each host. --cert stands in where it is missing."},
	{BadCertificate, Error, "a certificate that cannot be used, or that clients will refuse",
		"The message says which file, and why. Handshakes for the binding are refused as long as there is none that works; a certificate that has expired or is for other names is shown all the same."},
	{NoProgram, Warning, "an application whose program cannot be started",
		"The program of processPath, or what it is to run, is not there, may not be executed, is one for Windows, or lacks its .NET framework. Requests are answered with an error as long as that is so. Correct processPath or arguments, install the program, or publish the application again."},
	{LinkLoop, Warning, "a link that leads back to a folder around it",
		"The folder has itself in it, without end, and every URL below it is served under any number of names. Remove the link."},
	{NoHandler, Warning, "a section of an application that no handler leads to",
		"The section says how an application is started, and the handlers of its folder give requests to files or to another application: it is never started. Add the entry that is expected to handlers, or take the section out."},
	{TooManyFolders, Warning, "a site with more folders than are checked",
		"Errors in the web.config files of the others are told when a request leads there. Move folders that nobody is to be served out of the site."},
	{TwinFolders, Warning, "two folders whose names differ in letter case alone",
		"URL paths have no letter case in IIS: one web.config holds for both folders, and that of the other is not read. Give one of them another name."},
	{ClosedFolder, Warning, "a folder that cannot be read",
		"Nobody knows whether there are settings in it, so what is below it is answered with 500.19, as by IIS. Let the user that Perch runs as list it, or move it out of the site."},
	{NoApplication, Warning, "a handler of an application where there is none",
		"The handlers at the root of an application say which one it is; in a folder below, or in a <location>, they can only lead to that. Requests for this handler are answered with 500. Move it to the root with the section that starts the application, make the folder an application of its own, or, where it is inherited, put it into a <location path=\".\" inheritInChildApplications=\"false\"> of the file above."},
	{NeverReached, Warning, "a virtual directory that no request reaches",
		"Another application of the site has the same path or one above it, and the application with the longest path answers before any virtual directory is looked at. Take the virtual directory out, give it another path, or put it into the other application."},
	{OtherProtocol, Warning, "a binding of a protocol that is not served",
		"Perch serves http and https. What listens for net.tcp, net.pipe, ftp and the like are other services of Windows. Take the binding out, or leave it to IIS."},
	{NoBinding, Warning, "a site that no request can reach",
		"The site has no binding of http or https, so Perch listens nowhere for it. Add a binding, or stop the site with serverAutoStart=\"false\"."},
	{NothingListens, Error, "a configuration by which nothing listens",
		"No site of the file is served at any address, so there is nothing to run. Look whether it is the right file, and give a site a binding of http or https that can be used."},
	{DotNetFramework, Warning, "an application of the .NET Framework",
		"ASP.NET before ASP.NET Core runs inside of IIS's own worker process, and nowhere but on Windows: Perch serves the files of the folder, and its pages are refused. Leave it to IIS, or port it to ASP.NET Core."},
	{LinkOut, Warning, "a link that leads out of a folder that is served",
		"What is behind it is not served from disk, and no web.config is read there. Have a relative link lead to something inside of the folder, or give what lies elsewhere a virtual directory."},
	{NoSite, Warning, "a <location> for a site that is not there",
		"Nothing is served by these settings: the path of a <location> in applicationHost.config begins with the name of a site. Correct the name, or take the <location> out."},
}

// Explanations returns what the reference says of every code, in their order.
func Explanations() []Explanation { return explanations[:] }

// Explain returns what the reference says of c. An unknown code is explained
// by its name alone.
func (c Code) Explain() Explanation {
	for i := range explanations {
		if explanations[i].Code == c {
			return explanations[i]
		}
	}
	return Explanation{Code: c}
}
