package embedded_test

import (
	"context"
	"fmt"
	"time"

	"github.com/gotenure/tenure/embedded"
)

func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cluster, err := embedded.Start(ctx, embedded.Config{NoFsync: true, Tick: 10 * time.Millisecond})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cluster.Close()

	if _, err := cluster.Client().Put(ctx, "greeting", "hello"); err != nil {
		fmt.Println(err)
		return
	}
	resp, err := cluster.Client().Get(ctx, "greeting")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(resp.Kvs[0].Value))
	// Output: hello
}

// A member can be stopped and started again; the others go on without it.
func ExampleCluster_Stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cluster, err := embedded.Start(ctx, embedded.Config{Members: 3, NoFsync: true, Tick: 10 * time.Millisecond})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cluster.Close()

	if err := cluster.Stop(0); err != nil {
		fmt.Println(err)
	}
	if _, err := cluster.Client().Put(ctx, "key", "value"); err == nil {
		fmt.Println("two of three are enough")
	}
	if err := cluster.Restart(ctx, 0); err == nil {
		fmt.Println("and back are three")
	}
	// Output:
	// two of three are enough
	// and back are three
}

// Data in a folder of one's own is still there at the next start.
func ExampleStart_dir() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cluster, err := embedded.Start(ctx, embedded.Config{
		Dir:          "/var/lib/billing/etcd",
		ClientPorts:  []int{2379},
		RootPassword: "from a safe place",
		TLS:          &embedded.TLS{},
		Retention:    time.Hour,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cluster.Close()
	fmt.Println(cluster.Endpoints())
}
