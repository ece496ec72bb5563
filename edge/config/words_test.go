package config

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"debounce", "line", "pull", "states", "every", "at"}
	for word, want := range map[string]string{
		"debonce": "debounce", "Debounce": "debounce", "debounce-ms": "debounce", "deb": "debounce", "stats": "states",
		"evrey": "every", "zzz": "", "x": "", "interval": "", "pul": "pull",
	} {
		if got := nearest(word, known); got != want {
			t.Errorf("nearest to %q is %q, want %q", word, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "xbc", 1}, {"kitten", "sitting", 3}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance of %q and %q is %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestHideLogin(t *testing.T) {
	for in, want := range map[string]string{
		"mqtt://me:secret@host:1/x":                           "mqtt://********@host:1/x",
		"https://token@host/path":                             "https://********@host/path",
		"mqtt://me:a/b?c#d@e@host":                            "mqtt://********@host",
		"mqtt://host:1883":                                    "mqtt://host:1883",
		"http://host/a?q=Berlin&APPID=5f&x_api_key=a%26b#top": "http://host/a?q=Berlin&APPID=********&x_api_key=********#top",
		"http://host/key=5?unit=C":                            "http://host/key=5?unit=C",
		"see http://a and me@x.org":                           "see http://a and me@x.org",
	} {
		if got := hideLogin(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}
