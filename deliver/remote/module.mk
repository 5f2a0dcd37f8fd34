REMOTE := $(addprefix $(D)/,remote.c remote_job.c remote_dns.c remote_smtp.c remote_reply.c remote_hello.c remote_trans.c remote_body.c remote_auth.c remote_tls.c)
$(call unittest,test_remote,test_remote.c $(REMOTE) deliver/sts/sts_policy.c deliver/resolve/own.c,smtp map mail conf dns ipc io os log base test)
$(call unittest,test_remote_rules,test_remote_rules.c remote_auth.c remote_tls.c deliver/sts/sts_policy.c,smtp mail conf io os log base test)
$(call unittest,test_remote_body,test_remote_body.c remote_body.c,smtp mail os base test)
