# Runs on the host that is recorded, in its POSIX shell. captool sends it through ssh (remote.py), with `ports` and `interfaces` set in front,
# and keeps talking to it: facts first, then the time as often as asked for, then one tcpdump, which never outlives the connection.
export LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
set -f
connection=${1-$SSH_CONNECTION}
tcpdump=$(command -v tcpdump)
may=yes
if [ "$(id -u)" != 0 ] && ! "${tcpdump:-false}" -i any -L </dev/null >/dev/null 2>&1; then
    may=no
    # All of this as root, not tcpdump alone: nobody but root may end a tcpdump that sudo has started.
    sudo -n sh -c : </dev/null >/dev/null 2>&1 && exec sudo -n sh -c "$text" captool "$connection"
fi

echo
echo 'captool-remote 1'
echo "uid $(id -u)"
echo "user $(id -un)"
echo "name $(uname -n)"
echo "system $(uname -srm)"
echo "connection $connection"
echo "may $may"
echo "tcpdump $tcpdump"
[ -z "$tcpdump" ] || "$tcpdump" --version 2>&1 </dev/null | head -n 5 | sed 's/^/version /'
# /sys is the second choice: in a network namespace it may be that of another one
if links=$(ip -o link 2>/dev/null </dev/null); then
    printf '%s\n' "$links" | sed -n 's/^\([0-9]*\): \([^@: ]*\)[@:].*/interface \1 \2/p'
else
    (set +f; cd /sys/class/net && grep . -- */ifindex /dev/null) 2>/dev/null | sed 's/^\(.*\)\/ifindex:\(.*\)/interface \2 \1/'
fi
wanted=
for port in $ports; do
    wanted="$wanted${wanted:+ or }sport = :$port or dport = :$port"
done
if sockets=$(ss -Htnp state established "( $wanted )" 2>/dev/null </dev/null); then
    echo 'sockets known'
    printf '%s\n' "$sockets" | head -n 1000 | sed 's/^/socket /'
fi
for interface in $interfaces; do
    ethtool -k "$interface" 2>/dev/null </dev/null | sed -n 's/^\([a-z-]*\): on.*/\1/p' | while read -r offload; do
        printf 'offload %s %s\n' "$interface" "$offload"
    done
done
[ ! -d /run/systemd/system ] || echo "synchronized $(timeout 2 timedatectl show -p NTPSynchronized --value 2>/dev/null </dev/null)"
echo ready

while read -r word rest; do
    case $word in
    clock) date +%s.%N ;;
    record) break ;;
    esac
done
[ "$word" = record ] || exit 0

eval "set -- $rest"
exec 3<&0 </dev/null
echo 'captool: tcpdump begins' >&2
"$@" 3<&- &
recorder=$!
(   # A connection can die without a sign: when no word has come for that long, nobody is there any more.
    silent=0
    trap 'silent=0' USR1
    while [ "$silent" -lt "$patience" ]; do
        sleep 5
        silent=$((silent + 5))
    done
    kill -TERM $recorder
) 3<&- >/dev/null 2>&1 &
watch=$!
(   # The other side closes this stream when it ends, however it ends: then the kernel does it, or ssh.
    while read -r word; do
        kill -USR1 $watch
        case $word in
        counters) kill -USR1 $recorder ;;
        end) break ;;
        esac
    done
    kill -TERM $recorder
    sleep 5
    kill -KILL $recorder
) <&3 3<&- >/dev/null 2>&1 &
reader=$!
exec 3<&-
wait $recorder
status=$?
kill $reader $watch 2>/dev/null
exit $status
