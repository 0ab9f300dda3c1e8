package tenure_test

import (
	"fmt"

	"github.com/gotenure/tenure"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func ExampleClientConfig() {
	cfg, err := tenure.ClientConfig([]string{"https://etcd-1:2379", "https://etcd-2:2379", "https://etcd-3:2379"})
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := clientv3.New(cfg) // connects in the background
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	fmt.Println(client.Endpoints())
	// Output: [https://etcd-1:2379 https://etcd-2:2379 https://etcd-3:2379]
}

func ExampleWithTLSFiles() {
	_, err := tenure.ClientConfig([]string{"https://etcd-1:2379"},
		tenure.WithTLSFiles("client.crt", "client.key", "no-such-file.crt"),
		tenure.WithUser("billing", "its password"))
	fmt.Println(err)
	// Output: tenure: client configuration: reading the certificate authorities: open no-such-file.crt: no such file or directory
}
