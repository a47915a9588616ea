// A vCenter simulator to test against: govmomi's simulator library behind the
// command line of govmomi's own `vcsim`, as far as Pilothouse uses it.
//
// It exists for machines where `vcsim` itself cannot be fetched. It builds
// with govmomi 0.56.0 (go.mod beside this file) and, with `-tags debian`, with
// the 0.24.2 that Debian ships (GO111MODULE=off GOPATH=/usr/share/gocode). Unlike `vcsim`, it
// makes a P-256 certificate of its own at each start: the one that is built
// into 0.24.2 is RSA-1024, which modern TLS refuses.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"flag"
	"fmt"
	"log"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vmware/govmomi/simulator"
)

func main() {
	model := simulator.VPX()
	for name, field := range map[string]*int{
		"dc": &model.Datacenter, "cluster": &model.Cluster, "host": &model.ClusterHost,
		"standalone-host": &model.Host, "ds": &model.Datastore, "vm": &model.Machine,
		"pool": &model.Pool, "app": &model.App, "pod": &model.Pod, "pg": &model.Portgroup,
		"folder": &model.Folder, "delay": &model.DelayConfig.Delay,
	} {
		flag.IntVar(field, name, *field, "see vcsim")
	}
	flag.BoolVar(&model.Autostart, "autostart", model.Autostart, "power on the machines of the model")
	flag.Float64Var(&model.DelayConfig.DelayJitter, "delay-jitter", 0, "coefficient of variation of the delays")
	delays := flag.String("method-delay", "", "milliseconds per method: Method1:300,Method2:20")
	listen := flag.String("l", "127.0.0.1:8989", "address to listen on")
	esx := flag.Bool("esx", false, "simulate a standalone ESXi host")
	user := flag.String("username", "", "the one user name to accept (any, if empty)")
	password := flag.String("password", "", "the password of -username")
	useTLS := flag.Bool("tls", true, "serve TLS")
	cert := flag.String("tlscert", "", "certificate file (one is made, if empty)")
	key := flag.String("tlskey", "", "key file of -tlscert")
	trace := flag.String("trace-file", "", "write the SOAP traffic to this file")
	stdinExit := flag.Bool("stdinexit", false, "stop when standard input ends")
	flag.Parse()

	if *esx {
		standalone := simulator.ESX()
		standalone.Datastore, standalone.Machine = model.Datastore, model.Machine
		standalone.Autostart, standalone.DelayConfig = model.Autostart, model.DelayConfig
		model = standalone
	}
	if *trace != "" {
		file, err := os.Create(*trace)
		check(err)
		defer file.Close()
		simulator.Trace, simulator.TraceFile = true, file
	}
	model.DelayConfig.MethodDelay = parseDelays(*delays)
	delayTasks(model.DelayConfig.MethodDelay)

	check(model.Create())
	defer model.Remove()
	model.Service.RegisterEndpoints = true
	model.Service.Listen = &url.URL{Host: *listen}
	if *user != "" {
		model.Service.Listen.User = url.UserPassword(*user, *password)
	}
	if *useTLS {
		model.Service.TLS = &tls.Config{Certificates: []tls.Certificate{certificate(*cert, *key)}}
	}

	server := model.Service.NewServer()
	fmt.Printf("export GOVC_URL=%s GOVC_SIM_PID=%d\n", server.URL, os.Getpid())

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	if *stdinExit {
		go func() {
			_, _ = os.Stdin.Read(make([]byte, 1))
			stop <- syscall.SIGTERM
		}()
	}
	<-stop
}

// parseDelays reads "Method1:300,Method2:20".
func parseDelays(text string) map[string]int {
	delays := map[string]int{}
	for _, pair := range strings.Split(text, ",") {
		if pair == "" {
			continue
		}
		parts := strings.SplitN(strings.TrimSpace(pair), ":", 2)
		if len(parts) != 2 {
			log.Fatalf("-method-delay: %q is not Method:milliseconds", pair)
		}
		milliseconds, err := strconv.Atoi(parts[1])
		check(err)
		delays[parts[0]] = milliseconds
	}
	return delays
}

// certificate loads the pair, or makes a self-signed one for this machine.
func certificate(certFile, keyFile string) tls.Certificate {
	if certFile != "" {
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		check(err)
		return pair
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	check(err)
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "vCenter simulator"},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(365 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	check(err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
