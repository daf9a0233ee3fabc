#!/bin/busybox sh
# The first process of a guest: prepares the machine, runs /run.sh, and stops it.
# What it and the kernel say goes to the first serial port, results to the second.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /root /usr/sbin /usr/bin /sbin

# The initramfs cannot be left by pivot_root(2), which runtimes use: from a tmpfs
# as root directory it can.
if [ "$1" != second ]; then
  /bin/busybox mount -t tmpfs -o mode=755,size=90% root /mnt
  for f in /*; do [ "$f" = /mnt ] || /bin/busybox cp -a "$f" /mnt/; done
  /bin/busybox mkdir -p /mnt/mnt
  exec /bin/busybox switch_root /mnt /init second
fi
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
ln -sf /proc/self/fd /dev/fd
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
mount -t securityfs securityfs /sys/kernel/security
chmod 1777 /tmp
for m in /modules/*; do [ ! -e "$m" ] || insmod "$m" || echo "insmod $m failed"; done

# $CGROUP is on the kernel's command line, which becomes the environment.
case $CGROUP in
v2) mount -t cgroup2 cgroup2 /sys/fs/cgroup ;;
hybrid)
  mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
  while read -r name _ _ enabled; do
    case $name in \#*) continue ;; esac
    [ "$enabled" = 1 ] || continue
    mkdir "/sys/fs/cgroup/$name" && mount -t cgroup -o "$name" "$name" "/sys/fs/cgroup/$name" || rmdir "/sys/fs/cgroup/$name"
  done </proc/cgroups
  mkdir /sys/fs/cgroup/unified /sys/fs/cgroup/systemd
  mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
  mount -t cgroup -o none,name=systemd systemd /sys/fs/cgroup/systemd
  # A new cpuset has no processor and no memory node until it is told otherwise.
  [ ! -e /sys/fs/cgroup/cpuset/cgroup.clone_children ] || echo 1 >/sys/fs/cgroup/cpuset/cgroup.clone_children
  ;;
*) echo "no such way to mount cgroups: $CGROUP" ;;
esac
# Says that the machine lives, also while a test is silent. Nothing is started for it.
mkfifo /run/never
while :; do read -r -t 10 _ <>/run/never; echo '@@ alive'; done &
ip link set lo up
hostname guest
stty -F /dev/ttyS1 raw -echo
sh /run.sh >/dev/ttyS1 2>&1 </dev/null
sync
poweroff -f
