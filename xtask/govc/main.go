// Command govc is the peer that `cargo xtask bench vsphere` measures against, for machines whose
// Go module proxy has govmomi's library and not its commands: the library's own command line, with
// the commands that are measured and no others. That makes it start a little faster, not slower.
package main

import (
	"os"

	"github.com/vmware/govmomi/cli"

	_ "github.com/vmware/govmomi/cli/about"
	_ "github.com/vmware/govmomi/cli/object"
	_ "github.com/vmware/govmomi/cli/vm"
)

func main() {
	os.Exit(cli.Run(os.Args[1:]))
}
