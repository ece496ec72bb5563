# Tells what this process may do. The numbers are those of amd64's kernel.
use strict;
my $timex = "\0" x 256;
my $state = syscall(159, $timex);    # adjtimex
print $state < 0 ? "clock: $!\n" : "clock read $state\n";
substr($timex, 0, 4) = pack("L", 0x0010);    # ADJ_STATUS, to what it is
print "clock set" . (syscall(159, $timex) < 0 ? ": $!" : "") . "\n" if $> != 0;
print open(my $tun, "+<", "/dev/net/tun") ? "tun opens\n" : "tun: $!\n";
print open(my $etc, ">", "/etc/probe") ? "write /etc\n" : "write /etc: $!\n" if $> != 0;
open(my $self, "<", "/proc/self/status");
print grep { s/^CapEff:\s*/CapEff / } <$self>;
