package main

import (
	"fmt"
	"io"
	"math"

	"github.com/spf13/cobra"
)

// claim is the answer of GET /v1/claim.
type claim struct {
	Claimed bool    `json:"claimed"`
	Code    string  `json:"code"`
	Wait    float64 `json:"wait"`  // seconds in which no code is taken
	Open    float64 `json:"open"`  // seconds for which it takes no code: the button was held
	Panel   string  `json:"panel"` // its address, or ""
}

func claimVerb(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "claim",
		Short: "Shows the panel's address and the code that claims it",
		Long: `Shows the panel's address and the code that claims it. Whoever enters the code
there gets an admin key, once. An agent that has an admin key is claimed, and has
no code: "fieldpost keys create" makes more keys, and the way in on the board
itself is never closed. Where the config has a button, holding it opens the claim for
two minutes: the page then asks for no code.`,
		Args: takes(0, 0, "no argument"),
	}
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		raw, err := a.fetch(cmd.Context(), "/v1/claim")
		if err != nil || *out == asJSON {
			return a.rawOr(raw, err)
		}
		var c claim
		if err := decodeAnswer(raw, &c); err != nil {
			return err
		}
		return printClaim(a.Out, &c)
	}
	return cmd
}

// printClaim says it in one line, which the package's installation shows, too.
func printClaim(w io.Writer, c *claim) error {
	panel := c.Panel
	if panel == "" {
		panel = "none (api.listen has no TCP address)"
	}
	text := "claim code " + c.Code
	if c.Claimed {
		text = "claimed; fieldpost keys create --name N --role admin makes a key"
	}
	if c.Open > 0 {
		text += fmt.Sprintf("; the button was held: for another %.0f s the page asks for none", math.Ceil(c.Open))
	}
	if _, err := fmt.Fprintf(w, "Panel: %s - %s\n", printable(panel), printable(text)); err != nil || c.Wait <= 0 {
		return err
	}
	_, err := fmt.Fprintf(w, "Wrong codes were tried: none is taken for another %.0f s.\n", math.Ceil(c.Wait))
	return err
}
