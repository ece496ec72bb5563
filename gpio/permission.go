package gpio

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// gpioGroup is the group that may use GPIO on Raspberry Pi OS. Plain Debian has
// neither it nor the udev rule that gives it the chips.
const gpioGroup = "gpio"

// permission says why a device can't be opened, and what would let us.
func permission(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return err.Error()
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "it belongs to another user"
	}
	owner, group, named := userName(st.Uid), strconv.FormatUint(uint64(st.Gid), 10), false
	if g, err := user.LookupGroupId(group); err == nil {
		group, named = g.Name, true
	}
	me := userName(uint32(os.Geteuid()))
	says := fmt.Sprintf("it belongs to %s:%s with mode %04o, and the agent runs as %s", owner, group, info.Mode().Perm(), me)
	if named && st.Gid != 0 && info.Mode().Perm()&0o060 == 0o060 {
		return fmt.Sprintf("%s; put %s into its group: sudo usermod -aG %s %s, then start the agent again", says, me, group, me)
	}
	return fmt.Sprintf("%s; give it to the group %s: sudo groupadd -f %s, sudo usermod -aG %s %s, and a udev rule such as the package's "+
		"60-fieldpost.rules (SUBSYSTEM==\"gpio\", KERNEL==\"gpiochip*\", GROUP=\"%s\", MODE=\"0660\"), sudo udevadm control --reload, sudo udevadm trigger --subsystem-match=gpio, then start the agent again",
		says, gpioGroup, gpioGroup, gpioGroup, me, gpioGroup)
}

// userName is the name of a user, or the number where it has none.
func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}
