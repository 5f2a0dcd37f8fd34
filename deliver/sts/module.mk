STS := $(addprefix $(D)/,sts.c sts_fetch.c sts_cache.c sts_policy.c)
STS_POLICY := $(D)/sts_policy.c
$(call unittest,test_sts_cache,test_sts_cache.c sts_cache.c sts_policy.c,smtp authres mail os log base test)
$(call unittest,test_sts,test_sts.c sts_policy.c,smtp base test)
$(call fuzzer,fuzz_sts,fuzz_sts.c sts_policy.c,smtp base)
