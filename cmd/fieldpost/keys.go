package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// apiKey is one key as the API tells of it.
type apiKey struct {
	ID    string   `json:"id"`
	Name  string   `json:"name"`
	Role  string   `json:"role"`
	Names []string `json:"names,omitempty"`
	Made  string   `json:"made,omitempty"`
	Key   string   `json:"key,omitempty"` // in the answer that made it alone
}

func keysVerb(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Makes, lists and deletes the keys of API clients",
		Args:  takes(0, 0, "no argument, or create, list, delete"),
	}
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return a.keysList(cmd.Context(), *out) }
	cmd.AddCommand(keysCreate(a), keysListVerb(a), keysDelete(a))
	return cmd
}

func keysListVerb(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "Lists the keys", Args: takes(0, 0, "no argument")}
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return a.keysList(cmd.Context(), *out) }
	return cmd
}

func (a *app) keysList(ctx context.Context, out format) error {
	raw, err := a.fetch(ctx, "/v1/keys")
	if err != nil || out == asJSON {
		return a.rawOr(raw, err)
	}
	var list struct {
		Keys []apiKey `json:"keys"`
	}
	if err := decodeAnswer(raw, &list); err != nil {
		return err
	}
	t := newTable(a.Out, "ID", "NAME", "ROLE", "NAMES", "MADE")
	for _, k := range list.Keys {
		t.row(k.ID, k.Name, k.Role, strings.Join(k.Names, " "), k.Made)
	}
	return t.flush()
}

func keysCreate(a *app) *cobra.Command {
	var name, role string
	var names []string
	cmd := &cobra.Command{
		Use:     "create --name N --role read|write|admin|forward",
		Short:   "Makes a key and shows it, this once",
		Example: `  fieldpost keys create --name dashboard --role read --names "kitchen/*"`,
		Args:    takes(0, 0, "--name and --role"),
	}
	out := outputFlag(cmd)
	cmd.Flags().StringVar(&name, "name", "", "what to call it")
	cmd.Flags().StringVar(&role, "role", "", "read, write, admin or forward")
	cmd.Flags().StringSliceVar(&names, "names", nil, "only these `names` of events and devices; * matches any run")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if name == "" || role == "" {
			return usagef("keys create takes --name and --role: see fieldpost keys create --help")
		}
		if !slices.Contains([]string{"read", "write", "admin", "forward"}, role) {
			return usagef("keys create: no role %q: it is read, write, admin or forward", role)
		}
		body := apiKey{Name: name, Role: role, Names: names}
		raw, err := a.send(cmd.Context(), http.MethodPost, "/v1/keys", map[string]any{"name": body.Name, "role": body.Role, "names": body.Names})
		if err != nil || *out == asJSON {
			return a.rawOr(raw, err)
		}
		var made apiKey
		if err := decodeAnswer(raw, &made); err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.Out, "key %s (%s, %s), shown this once:\n%s\n", made.Name, made.ID, made.Role, made.Key)
		return err
	}
	return cmd
}

func keysDelete(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "delete ID|NAME",
		Short: "Deletes a key; what it holds open ends",
		Args:  takes(1, 1, "the id or the name of a key"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := a.keyID(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if _, err := a.send(cmd.Context(), http.MethodDelete, "/v1/keys/"+url.PathEscape(id), nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.Out, "deleted key %s\n", args[0])
			return err
		},
	}
}

// keyID finds a key by its name; what is no name is taken for an id.
func (a *app) keyID(ctx context.Context, name string) (string, error) {
	raw, err := a.fetch(ctx, "/v1/keys")
	if err != nil {
		return "", err
	}
	var list struct {
		Keys []apiKey `json:"keys"`
	}
	if err := decodeAnswer(raw, &list); err != nil {
		return "", err
	}
	for _, k := range list.Keys {
		if k.Name == name {
			return k.ID, nil
		}
	}
	return name, nil
}
