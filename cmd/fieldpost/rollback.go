package main

import (
	"context"
	"os"
	"strings"
)

// rollbackNote is what the package's postinst writes where a new version was not ready
// in time and the previous one runs in its place: in its first line the version that
// runs, in its second what happened, in a sentence. The next upgrade takes it away.
const rollbackNote = "/usr/lib/fieldpost/rollback"

// rolledBack reads the note; two empty texts where there is none.
func (sh *shell) rolledBack() (version, what string) {
	raw, err := os.ReadFile(sh.Root + rollbackNote)
	if err != nil {
		return "", ""
	}
	version, what, _ = strings.Cut(string(raw), "\n")
	return strings.TrimSpace(version), oneLine(what)
}

// notices are problems that this agent has from its start on, in sentences.
func (sh *shell) notices() []string {
	if version, what := sh.rolledBack(); version == thisBuild().Version && what != "" {
		return []string{what}
	}
	return nil
}

// packageCheck says which version runs, and what a PC's config waits for.
func packageCheck(_ context.Context, p *patient) []symptom {
	var found []symptom
	if version, what := p.rolledBack(); version != "" && (p.status == nil || p.status.Agent.Version == version) {
		found = append(found, symptom{Health: ailing, Text: what, Cure: "journalctl -u fieldpost says why; sudo apt install --reinstall fieldpost tries the new one again"})
	}
	for _, dir := range bootPlaces {
		file := dir + "/" + bootName
		switch {
		case p.text(file+".error") != "":
			found = append(found, symptom{Health: ailing, Text: file + " was not taken up; why is in " + file + ".error", Cure: "mend it, then sudo fieldpost firstboot and sudo systemctl restart fieldpost"})
		case exists(p.root + file):
			found = append(found, symptom{Health: notable, Text: file + " is on the boot partition, where who holds the card can read it", Cure: "sudo fieldpost firstboot takes it up, or wipes it where it was taken"})
		}
	}
	if found == nil {
		found = one(healthy, "no upgrade was taken back, and no config waits on the boot partition", "")
	}
	return found
}
