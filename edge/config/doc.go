// Package config turns the files, the environment and the flags that a user
// writes into one typed Config, or into a list of every mistake in them, each
// with its place and its cure.
//
//	fieldpost.yaml, conf.d/*.yaml        Load finds and reads them
//	      |  parse: one tree of nodes, each knows its file, line and column
//	      v
//	    merge      an object in two files is an error; panel.yaml replaces
//	      v
//	    overlay    FIELDPOST_SECTION__KEY, then flags
//	      v
//	    check      the tree against the Go structs, by reflection: all problems
//	      v
//	    viper      defaults, document, environment and flags: the typed decode
//	      v
//	    Config     maps whose keys are the user's own are filled from the tree
//
// viper keeps neither lines nor the case of keys, splits keys at dots and turns
// 5 into 5ns, so nothing reaches it that was not checked before.
//
// The package imports no plug-in. Whoever calls Load hands it the tables of
// drivers and senders; each row makes a struct with its defaults filled in, and
// that struct's fields are the keys that a device or an uplink may have. The
// field that is tagged with the plug-in's own name holds the driver key's value:
//
//	type digitalIn struct {
//		Pin      edge.Pin      `mapstructure:"digital_in"`
//		Debounce edge.Duration `mapstructure:"debounce"`
//	}
//
// A struct may have a method Validate() error for what types can't say. Where
// that error (or one that it joins) has a method Key() string, the problem is
// shown at that key.
package config
