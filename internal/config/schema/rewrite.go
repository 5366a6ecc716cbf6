package schema

// The sections of URL Rewrite 2.1. A rule may be there to keep somebody out,
// so rules say so as long as they are not obeyed.

// rewriteGlobalRules are applied to the requests of all sites.
var rewriteGlobalRules = Section{Path: "system.webServer/rewrite/globalRules", Where: ServerOnly, Deny: true, Element: Element{
	Status: Known, Restricts: true,
	Attributes: []Attribute{useOriginalURLEncoding},
	Collection: inboundRules(conditions("false", true)),
}}

// rewriteRules are the rules of a part of a site.
var rewriteRules = Section{Path: "system.webServer/rewrite/rules", Element: Element{
	Status: Known, Restricts: true,
	Attributes: []Attribute{useOriginalURLEncoding},
	Collection: inboundRules(conditions("false", false), Attribute{Name: "logRewrittenUrl", Type: Bool, Default: "false"}),
}}

var useOriginalURLEncoding = Attribute{Name: "useOriginalURLEncoding", Type: Bool, Default: "true"}

// inboundRules describes rules with these conditions and these attributes of
// an action besides the common ones.
func inboundRules(conditions Element, action ...Attribute) *Collection {
	return &Collection{Add: "rule", Remove: "remove", Clear: "clear", Entry: Element{
		Attributes: []Attribute{
			{Name: "name", Key: true, Required: true},
			{Name: "enabled", Type: Bool, Default: "true"},
			patternSyntax,
			{Name: "stopProcessing", Type: Bool, Default: "false"},
			{Name: "responseCacheDirective", Type: Enum, Default: "Auto", Names: []Name{{"Auto", 0}, {"Always", 1}, {"Never", 2}, {"NotIfRuleMatched", 3}}},
		},
		Elements: []Element{
			{Name: "match", Attributes: []Attribute{
				{Name: "url", NonEmpty: true},
				{Name: "ignoreCase", Type: Bool, Default: "true"},
				{Name: "negate", Type: Bool, Default: "false"},
			}},
			conditions,
			{Name: "serverVariables", Collection: &Collection{Add: "set", Entry: Element{Attributes: []Attribute{
				{Name: "name", Key: true, Required: true, Form: Trimmed},
				{Name: "value", CaseSensitive: true},
				{Name: "replace", Type: Bool, Default: "true"},
			}}}},
			{Name: "action", Attributes: append([]Attribute{
				{Name: "type", Type: Enum, Default: "None", Names: []Name{
					{"None", 0}, {"Rewrite", 1}, {"Redirect", 2}, {"CustomResponse", 3}, {"AbortRequest", 4},
				}},
				{Name: "url", Form: Trimmed},
				{Name: "appendQueryString", Type: Bool, Default: "true"},
				{Name: "redirectType", Type: Enum, Default: "Permanent", Names: []Name{
					{"Permanent", 301}, {"Found", 302}, {"SeeOther", 303}, {"Temporary", 307},
				}},
				{Name: "statusCode", Type: Uint, Default: "0", Range: &Range{Min: 300, Max: 307, Outside: true}},
				{Name: "subStatusCode", Type: Uint, Default: "0", Range: &Range{Max: 999}},
				{Name: "statusReason"},
				{Name: "statusDescription"},
			}, action...)},
		},
	}}
}

var patternSyntax = Attribute{Name: "patternSyntax", Type: Enum, Default: "ECMAScript", Names: []Name{
	{"ECMAScript", 0}, {"Wildcard", 1}, {"ExactMatch", 2},
}}

var logicalGrouping = Attribute{Name: "logicalGrouping", Type: Enum, Default: "MatchAll", Names: []Name{{"MatchAll", 0}, {"MatchAny", 1}}}

// conditions describes the conditions of a rule. keyed tells that two may not
// be the same in everything, which holds for all but the rules of a site.
func conditions(trackAllCaptures string, keyed bool) Element {
	return Element{Name: "conditions",
		Attributes: []Attribute{logicalGrouping, {Name: "trackAllCaptures", Type: Bool, Default: trackAllCaptures}},
		Collection: conditionList(keyed),
	}
}

func conditionList(keyed bool) *Collection {
	return &Collection{Add: "add", Entry: Element{Attributes: []Attribute{
		{Name: "input", Key: keyed},
		{Name: "matchType", Type: Enum, Default: "Pattern", Key: keyed, Names: []Name{{"Pattern", 0}, {"IsFile", 1}, {"IsDirectory", 2}}},
		{Name: "pattern", Key: keyed},
		{Name: "ignoreCase", Type: Bool, Default: "true", Key: keyed},
		{Name: "negate", Type: Bool, Default: "false", Key: keyed},
	}}}
}

// rewriteOutboundRules change responses.
var rewriteOutboundRules = Section{Path: "system.webServer/rewrite/outboundRules", Element: Element{Status: Known,
	Attributes: []Attribute{{Name: "rewriteBeforeCache", Type: Bool, Default: "false"}},
	Elements: []Element{
		{Name: "customTags", Collection: &Collection{Add: "tags", Remove: "remove", Clear: "clear", Entry: Element{
			Attributes: []Attribute{{Name: "name", Key: true, Required: true}},
			Collection: &Collection{Add: "tag", Remove: "remove", Clear: "clear", Entry: Element{Attributes: []Attribute{
				{Name: "name", Key: true, Required: true, NonEmpty: true},
				{Name: "attribute", Key: true, Required: true, NonEmpty: true},
			}}},
		}}},
		{Name: "preConditions", Collection: &Collection{Add: "preCondition", Remove: "remove", Clear: "clear", Entry: Element{
			Attributes: []Attribute{{Name: "name", Key: true, Required: true}, logicalGrouping, patternSyntax},
			Collection: conditionList(true),
		}}},
	},
	Collection: &Collection{Add: "rule", Remove: "remove", Clear: "clear", Entry: Element{
		Attributes: []Attribute{
			{Name: "name", Key: true, Required: true},
			{Name: "preCondition"},
			{Name: "enabled", Type: Bool, Default: "true"},
			patternSyntax,
			{Name: "stopProcessing", Type: Bool, Default: "false"},
		},
		Elements: []Element{
			{Name: "match", Attributes: []Attribute{
				{Name: "filterByTags", Type: Flags, Default: "None", Names: []Name{
					{"None", 0}, {"A", 1}, {"Area", 2}, {"Base", 4}, {"Form", 8}, {"Frame", 16}, {"Head", 32}, {"IFrame", 64},
					{"Img", 128}, {"Input", 256}, {"Link", 512}, {"Script", 1024}, {"CustomTags", 32768},
				}},
				{Name: "customTags"},
				{Name: "serverVariable"},
				{Name: "pattern"},
				{Name: "occurrences", Type: Int64, Default: "0"}, // 0: all
				{Name: "ignoreCase", Type: Bool, Default: "true"},
				{Name: "negate", Type: Bool, Default: "false"},
			}},
			conditions("true", true),
			{Name: "action", Attributes: []Attribute{
				{Name: "type", Type: Enum, Default: "None", Names: []Name{{"None", 0}, {"Rewrite", 1}}},
				{Name: "value"},
				{Name: "replace", Type: Bool, Default: "true"},
			}},
		},
	}},
}}

// rewriteMaps are tables that rules look values up in.
var rewriteMaps = Section{Path: "system.webServer/rewrite/rewriteMaps", Element: Element{Status: Known,
	Collection: &Collection{Add: "rewriteMap", Remove: "remove", Clear: "clear", Entry: Element{
		Attributes: []Attribute{
			{Name: "name", Key: true, Required: true, Form: Trimmed},
			{Name: "defaultValue"},
			{Name: "ignoreCase", Type: Bool, Default: "true"},
		},
		Collection: &Collection{Add: "add", Remove: "remove", Clear: "clear", Entry: Element{Attributes: []Attribute{
			{Name: "key", Key: true, CaseSensitive: true, Required: true},
			{Name: "value"},
		}}},
	}},
}}

// rewriteProviders are .NET classes that rules ask for values.
var rewriteProviders = Section{Path: "system.webServer/rewrite/providers", Element: Element{Status: Known,
	Collection: &Collection{Add: "provider", Remove: "remove", Clear: "clear", Entry: Element{
		Attributes: []Attribute{
			{Name: "name", Key: true, Required: true, Form: Trimmed},
			{Name: "type", Required: true, Form: Trimmed},
		},
		Elements: []Element{{Name: "settings", Collection: &Collection{Add: "add", Remove: "remove", Clear: "clear", Entry: Element{Attributes: []Attribute{
			{Name: "key", Key: true, Required: true, NonEmpty: true},
			{Name: "value"},
			{Name: "encryptedValue", Secret: true},
		}}}}},
	}},
}}

// rewriteAllowedServerVariables are the variables that the rules of a site may
// set.
var rewriteAllowedServerVariables = Section{Path: "system.webServer/rewrite/allowedServerVariables", Deny: true, Element: Element{Status: Known,
	Collection: &Collection{Add: "add", Remove: "remove", Clear: "clear", Entry: Element{Attributes: []Attribute{
		{Name: "name", Key: true, Required: true},
	}}},
}}
