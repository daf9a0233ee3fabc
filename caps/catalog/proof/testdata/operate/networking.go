package main

import (
	"encoding/binary"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

var networking = map[string]operation{
	"bind-port": {do: func(scene) (string, error) {
		return on(unix.AF_INET, unix.SOCK_STREAM, 0, func(fd int) error {
			return unix.Bind(fd, &unix.SockaddrInet4{Port: 80, Addr: [4]byte{127, 0, 0, 1}})
		})
	}},
	"listen-all-namespaces": {do: func(scene) (string, error) {
		return on(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE, func(fd int) error {
			return unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_LISTEN_ALL_NSID, 1)
		})
	}},
	"set-mtu": {do: func(scene) (string, error) {
		return on(unix.AF_INET, unix.SOCK_DGRAM, 0, func(fd int) error {
			ifr, err := unix.NewIfreq("lo")
			if err != nil {
				return err
			}
			ifr.SetUint32(1400)
			return unix.IoctlIfreq(fd, unix.SIOCSIFMTU, ifr)
		})
	}},
	"force-receive-buffer": {do: func(scene) (string, error) {
		return on(unix.AF_INET, unix.SOCK_DGRAM, 0, func(fd int) error {
			return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1<<16)
		})
	}},
	"raw-socket": {do: func(scene) (string, error) {
		return on(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP, nil)
	}},
	"packet-socket": {do: func(scene) (string, error) { return on(unix.AF_PACKET, unix.SOCK_DGRAM, 0, nil) }},
	"socket-mark": {do: func(scene) (string, error) {
		return on(unix.AF_INET, unix.SOCK_DGRAM, 0, func(fd int) error {
			return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, 1)
		})
	}},
	"audit-message": {do: func(scene) (string, error) {
		const auditTrustedApp = 1121 // linux/audit.h AUDIT_TRUSTED_APP
		return audit(auditTrustedApp, []byte("leastcap: an experiment\x00"))
	}},
	"audit-status": {do: func(scene) (string, error) {
		return audit(1000 /* AUDIT_GET */, nil)
	}},
	"audit-log": {do: func(scene) (string, error) {
		return on(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT, func(fd int) error {
			return unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.AUDIT_NLGRP_READLOG - 1)})
		})
	}},
}

// on makes a socket, does something with it, and closes it.
func on(domain, typ, proto int, do func(fd int) error) (string, error) {
	fd, err := unix.Socket(domain, typ|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		if do == nil {
			return outcome(err)
		}
		return "", fmt.Errorf("socket(%d, %d, %d): %w", domain, typ, proto, err)
	}
	defer unix.Close(fd)
	if do == nil {
		return works, nil
	}
	return outcome(do(fd))
}

// audit sends the kernel's audit system a message, and waits for the answer that every
// message gets which asks for one.
func audit(kind uint16, text []byte) (string, error) {
	return on(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT, func(fd int) error {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2}); err != nil {
			return err
		}
		m := make([]byte, unix.SizeofNlMsghdr, 256)
		m = append(m, text...)
		binary.NativeEndian.PutUint32(m, uint32(len(m)))
		binary.NativeEndian.PutUint16(m[4:], kind)
		binary.NativeEndian.PutUint16(m[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
		if err := unix.Sendto(fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return err
		}
		answer := make([]byte, 8192)
		for {
			n, _, err := unix.Recvfrom(fd, answer, 0)
			if err != nil {
				return err
			}
			if n < unix.SizeofNlMsghdr+4 {
				return fmt.Errorf("an answer of %d bytes", n)
			}
			if binary.NativeEndian.Uint16(answer[4:]) == unix.NLMSG_ERROR {
				if code := int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:])); code != 0 {
					return syscall.Errno(-code)
				}
				return nil
			}
		}
	})
}
