package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// criClient speaks Kubernetes' Container Runtime Interface, as a kubelet does, with what
// the tests need of it: the generated client takes longer to compile than they take to run.
type criClient struct {
	*testing.T
	http *http.Client
}

func newCRI(t *testing.T, socket string) *criClient {
	h2c := new(http.Protocols)
	h2c.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: h2c, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &criClient{t, &http.Client{Transport: transport, Timeout: 30 * time.Second}}
}

// message is a protobuf message; the fields' numbers are of k8s.io/cri-api
// pkg/apis/runtime/v1/api.proto.
type message []byte

func (m message) text(field protowire.Number, s string) message {
	return protowire.AppendString(protowire.AppendTag(m, field, protowire.BytesType), s)
}

func (m message) number(field protowire.Number, n uint64) message {
	return protowire.AppendVarint(protowire.AppendTag(m, field, protowire.VarintType), n)
}

func (m message) with(field protowire.Number, sub message) message {
	return protowire.AppendBytes(protowire.AppendTag(m, field, protowire.BytesType), sub)
}

// first is the answer's field 1, which is an id in all that are asked for.
func (m message) first() string {
	if n, kind, skip := protowire.ConsumeTag(m); n == 1 && kind == protowire.BytesType {
		if s, got := protowire.ConsumeString(m[skip:]); got > 0 {
			return s
		}
	}
	return ""
}

// call makes one unary call: grpc doc/PROTOCOL-HTTP2.md.
func (c *criClient) call(method string, m message) (message, error) {
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(m)))
	req, err := http.NewRequest(http.MethodPost, "http://containerd/runtime.v1.RuntimeService/"+method, bytes.NewReader(append(frame, m...)))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	for _, h := range []http.Header{resp.Header, resp.Trailer} {
		if s := h.Get("Grpc-Status"); s != "" && s != "0" {
			return nil, fmt.Errorf("%s: status %s: %s", method, s, h.Get("Grpc-Message"))
		}
	}
	if len(body) < len(frame)-len(m) {
		return nil, fmt.Errorf("%s: no answer", method)
	}
	return body[5:], nil
}

func (c *criClient) must(method string, m message) string {
	c.Helper()
	answer, err := c.call(method, m)
	if err != nil {
		c.Fatal(err)
	}
	return answer.first()
}

// pod is a pod with one container that runs as a kubelet would run it, in the cgroup below
// parent and with the host's network.
type pod struct{ namespace, name, uid, parent string }

// run gives the ids of the pod's sandbox and its container.
func (c *criClient) run(p pod, image string, command []string, add, drop string) (sandbox, container string) {
	c.Helper()
	const node = 2 // NamespaceMode
	host := message(nil).number(1, node)
	config := message(nil).
		with(1, message(nil).text(1, p.name).text(2, p.uid).text(3, p.namespace)).
		with(8, message(nil).text(1, p.parent).with(2, message(nil).with(1, host)))
	sandbox = c.must("RunPodSandbox", message(nil).with(1, config))
	c.Cleanup(func() {
		if _, err := c.call("RemovePodSandbox", message(nil).text(1, sandbox)); err != nil {
			c.Error(err)
		}
	})
	capabilities := message(nil).text(1, add).text(2, drop)
	m := message(nil).with(1, message(nil).text(1, "app")).with(2, message(nil).text(1, image))
	for _, word := range command {
		m = m.text(3, word)
	}
	m = m.with(15, message(nil).with(2, message(nil).with(1, capabilities).with(3, host)))
	container = c.must("CreateContainer", message(nil).text(1, sandbox).with(2, m).with(3, config))
	c.Cleanup(func() { // at once, which is its timeout's default
		if _, err := c.call("StopContainer", message(nil).text(1, container)); err != nil {
			c.Error(err)
		}
	})
	c.must("StartContainer", message(nil).text(1, container))
	return sandbox, container
}
