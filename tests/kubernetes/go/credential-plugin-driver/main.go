// The kubelet's half of an image credential provider plugin, without a kubelet: it registers the plugins of a
// CredentialProviderConfig by the kubelet's own code, gets service-account tokens by the kubelet's own token manager from
// a real API server, and looks up the credentials of images as the kubelet does before it asks the runtime to pull.
//
// Standard input holds one question a line, standard output one answer a line, in the same order, from one process, so
// that what the kubelet would remember between two pulls is remembered here as well:
//
//	{"image": "…", "namespace": "shop", "serviceAccount": "web", "pod": "web-1", "podUid": "…"}
//	{"repository": "…", "auth": {"registry": {"username": "…", "password": "…"}}, "credentials": 1, "serviceAccount": {…}}
//
// An image that no plugin has credentials for has an empty auth; why, the kubelet's code says on standard error.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/kubernetes/pkg/credentialprovider"
	"k8s.io/kubernetes/pkg/credentialprovider/plugin"
	"k8s.io/kubernetes/pkg/kubelet/token"
	"k8s.io/kubernetes/pkg/util/parsers"
)

// question is what the kubelet knows of a pod whose image it is about to pull.
type question struct {
	Image          string `json:"image"`
	Namespace      string `json:"namespace"`
	ServiceAccount string `json:"serviceAccount"`
	Pod            string `json:"pod"`
	PodUID         string `json:"podUid"`
}

type entry struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

type answer struct {
	Repository string           `json:"repository"`
	Auth       map[string]entry `json:"auth"`
	// Credentials counts all that the kubelet would try, one after the other, until a pull succeeds. Auth is the first.
	Credentials    int                                           `json:"credentials"`
	ServiceAccount *credentialprovider.ServiceAccountCoordinates `json:"serviceAccount,omitempty"`
}

// source is where the kubelet's code gets service accounts and their tokens.
type source struct {
	account func(namespace, name string) (*v1.ServiceAccount, error)
	token   func(namespace, name string, request *authenticationv1.TokenRequest) (*authenticationv1.TokenRequest, error)
}

// fromServer asks an API server as a node does, with the node's own bearer token.
func fromServer(url, ca, tokenFile string) (source, error) {
	client, err := kubernetes.NewForConfig(&rest.Config{
		Host:            url,
		BearerTokenFile: tokenFile,
		TLSClientConfig: rest.TLSClientConfig{CAFile: ca},
	})
	if err != nil {
		return source{}, err
	}
	account := func(namespace, name string) (*v1.ServiceAccount, error) {
		return client.CoreV1().ServiceAccounts(namespace).Get(context.Background(), name, metav1.GetOptions{})
	}
	return source{account, token.NewManager(client).GetServiceAccountToken}, nil
}

// given hands out one token whatever is asked: for trying a plugin without an API server.
func given(tokenFile string) (source, error) {
	text, err := os.ReadFile(tokenFile)
	if err != nil {
		return source{}, err
	}
	account := func(namespace, name string) (*v1.ServiceAccount, error) {
		uid := types.UID("of-" + namespace + "-" + name)
		return &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: uid}}, nil
	}
	issue := func(_, _ string, request *authenticationv1.TokenRequest) (*authenticationv1.TokenRequest, error) {
		request.Status.Token = strings.TrimSpace(string(text))
		return request, nil
	}
	return source{account, issue}, nil
}

// look does what the kubelet's image manager does for a pod: the keyring of that pod, asked for the repository.
func look(q question) (answer, error) {
	repository, _, _, err := parsers.ParseImageName(q.Image)
	if err != nil {
		return answer{}, err
	}
	keyring := plugin.NewExternalCredentialProviderDockerKeyring(q.Namespace, q.Pod, q.PodUID, q.ServiceAccount)
	found, _ := keyring.Lookup(repository)
	result := answer{Repository: repository, Auth: map[string]entry{}, Credentials: len(found)}
	if len(found) == 0 {
		return result, nil
	}
	first := found[0]
	registry, _, _ := strings.Cut(repository, "/")
	result.Auth[registry] = entry{first.Username, first.Password}
	if first.Source != nil {
		result.ServiceAccount = first.Source.ServiceAccount
	}
	return result, nil
}

func run() error {
	config := flag.String("config", "", "the CredentialProviderConfig, as for --image-credential-provider-config of the kubelet")
	binDir := flag.String("bin-dir", "", "where the plugins are, as for --image-credential-provider-bin-dir of the kubelet")
	server := flag.String("server", "", "URL of the API server that service-account tokens are asked of")
	ca := flag.String("ca", "", "PEM file of the authority that signed the server's certificate")
	tokenFile := flag.String("token-file", "", "the node's own bearer token")
	givenToken := flag.String("given-token", "", "instead of a server: a file with the service-account token to hand out")
	flag.Parse()

	var from source
	var err error
	if *givenToken != "" {
		from, err = given(*givenToken)
	} else {
		from, err = fromServer(*server, *ca, *tokenFile)
	}
	if err != nil {
		return err
	}
	if err := plugin.RegisterCredentialProviderPlugins(*config, *binDir, from.token, from.account); err != nil {
		return err
	}
	questions := bufio.NewScanner(os.Stdin)
	answers := json.NewEncoder(os.Stdout)
	for questions.Scan() {
		var q question
		if err := json.Unmarshal(questions.Bytes(), &q); err != nil {
			return err
		}
		result, err := look(q)
		if err != nil {
			return err
		}
		if err := answers.Encode(result); err != nil {
			return err
		}
	}
	return questions.Err()
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "credential-plugin-driver:", err)
		os.Exit(1)
	}
}
