package localapi

import "encoding/json"

// The functions here take JSON apart at its surface and leave its parts to a
// strict parser: they find where a part ends, and accept parts that are not
// valid. What is not taken by a parser afterwards must be checked.

// scanArray calls fn with each element of an array, and its place from 0 on.
func scanArray(b []byte, fn func(i int, value []byte) error) error {
	at := skipSpace(b, 0)
	if at >= len(b) || b[at] != '[' {
		return badRequest("read the JSON: want an array")
	}
	at = skipSpace(b, at+1)
	if at < len(b) && b[at] == ']' {
		return atEnd(b, at+1)
	}
	for i := 0; ; i++ {
		end := skipValue(b, at)
		if end < 0 {
			return badRequest("read the JSON: element %d of the array is not whole", i)
		}
		if err := fn(i, b[at:end]); err != nil {
			return err
		}
		at = skipSpace(b, end)
		switch {
		case at < len(b) && b[at] == ',':
			at = skipSpace(b, at+1)
		case at < len(b) && b[at] == ']':
			return atEnd(b, at+1)
		default:
			return badRequest("read the JSON: want a comma or ] after element %d", i)
		}
	}
}

// scanObject calls fn with each member of an object: its key without quotes, as
// it is written, its value, and both as they stand there.
func scanObject(b []byte, fn func(key, value, member []byte) error) error {
	at := skipSpace(b, 0)
	if at >= len(b) || b[at] != '{' {
		return badRequest("read the JSON: want an object")
	}
	at = skipSpace(b, at+1)
	if at < len(b) && b[at] == '}' {
		return atEnd(b, at+1)
	}
	for {
		from := at
		if at >= len(b) || b[at] != '"' {
			return badRequest("read the JSON: want a key in quotes")
		}
		keyEnd := skipValue(b, at)
		if keyEnd < 0 {
			return badRequest("read the JSON: a key has no end")
		}
		colon := skipSpace(b, keyEnd)
		if colon >= len(b) || b[colon] != ':' {
			return badRequest("read the JSON: want a colon after a key")
		}
		value := skipSpace(b, colon+1)
		end := skipValue(b, value)
		if end < 0 {
			return badRequest("read the JSON: a value is not whole")
		}
		if err := fn(b[from+1:keyEnd-1], b[value:end], b[from:end]); err != nil {
			return err
		}
		at = skipSpace(b, end)
		switch {
		case at < len(b) && b[at] == ',':
			at = skipSpace(b, at+1)
		case at < len(b) && b[at] == '}':
			return atEnd(b, at+1)
		default:
			return badRequest("read the JSON: want a comma or }")
		}
	}
}

func atEnd(b []byte, at int) error {
	if skipSpace(b, at) != len(b) {
		return badRequest("read the JSON: there is something after its end")
	}
	return nil
}

func skipSpace(b []byte, at int) int {
	for at < len(b) && (b[at] == ' ' || b[at] == '\n' || b[at] == '\t' || b[at] == '\r') {
		at++
	}
	return at
}

// skipValue is where the value that begins at at ends, or -1 where it does not,
// or is empty.
func skipValue(b []byte, at int) int {
	depth := 0
	for begun := at; at < len(b); {
		switch b[at] {
		case '"':
			if at = skipString(b, at); at < 0 {
				return -1
			}
		case '{', '[':
			depth++
			at++
			continue
		case '}', ']':
			if depth == 0 {
				return empty(begun, at)
			}
			depth--
			at++
		case ',', ':', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return empty(begun, at)
			}
			at++
			continue
		default:
			at = skipPlain(b, at)
		}
		if depth == 0 {
			return at
		}
	}
	return -1
}

func empty(begun, at int) int {
	if begun == at {
		return -1
	}
	return at
}

func skipString(b []byte, at int) int {
	for at++; at < len(b); at++ {
		switch b[at] {
		case '\\':
			at++
		case '"':
			return at + 1
		}
	}
	return -1
}

func skipPlain(b []byte, at int) int {
	for at < len(b) {
		switch b[at] {
		case '"', '{', '[', '}', ']', ',', ':', ' ', '\n', '\t', '\r':
			return at
		}
		at++
	}
	return at
}

// scalar reports whether b is a valid JSON string, number, true, false or null.
func scalar(b []byte) bool {
	return len(b) > 0 && b[0] != '{' && b[0] != '[' && json.Valid(b)
}
