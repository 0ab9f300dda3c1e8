package embedded

import ("testing";"time";"context";"go.uber.org/goleak";"github.com/stretchr/testify/require";"fmt";clientv3 "go.etcd.io/etcd/client/v3")

func TestMain(m *testing.M){ goleak.VerifyTestMain(m) }
func TestMeasure(t *testing.T){
 for _, fast := range []bool{true,false} {
 for _, n := range []int{1,3} {
 for _, watch := range []bool{false,true} {
 for range 2 {
  cfg := Config{Members:n}
  if fast { cfg.Tick=10*time.Millisecond; cfg.NoFsync=true }
  a:=time.Now()
  c, err := Start(t.Context(), cfg); require.NoError(t,err)
  s:=time.Since(a)
  var cl *clientv3.Client
  if watch { cl, err = c.NewClient(); require.NoError(t,err); w:=cl.Watch(context.Background(),"x", clientv3.WithCreatedNotify()); <-w }
  a=time.Now()
  require.NoError(t,c.Close())
  fmt.Println("fast",fast,"n",n,"watch",watch,"start",s.Round(time.Millisecond),"close",time.Since(a).Round(time.Millisecond))
  if cl!=nil {cl.Close()}
 }}}}
}
