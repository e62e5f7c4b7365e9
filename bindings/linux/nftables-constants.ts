/** linux/netfilter/nfnetlink.h and nf_tables.h: what our own tables are made of. */

export const NFNL_SUBSYS_NFTABLES = 10;
const MESSAGE = NFNL_SUBSYS_NFTABLES << 8;

/** Brackets of a transaction; their `res_id` names the subsystem. */
export const NFNL_MSG_BATCH_BEGIN = 16;
export const NFNL_MSG_BATCH_END = 17;

export const NFT_MSG_NEWTABLE = MESSAGE | 0;
export const NFT_MSG_DELTABLE = MESSAGE | 2;
export const NFT_MSG_NEWCHAIN = MESSAGE | 3;
export const NFT_MSG_NEWRULE = MESSAGE | 6;
export const NFT_MSG_NEWSET = MESSAGE | 9;
export const NFT_MSG_NEWSETELEM = MESSAGE | 12;
export const NFT_MSG_DELSETELEM = MESSAGE | 14;
export const NFT_MSG_NEWGEN = MESSAGE | 15;
export const NFT_MSG_GETGEN = MESSAGE | 16;
export const NFT_MSG_NEWOBJ = MESSAGE | 18;

/** `struct nfgenmsg`: family u8, version u8, resource id u16. */
export const NFGENMSG_BYTES = 4;
export const NFPROTO_INET = 1;

/** The name of the table, in messages about tables, chains, rules and sets alike. */
export const NFTA_TABLE = 1;
export const NFTA_TABLE_FLAGS = 2;
/** The table belongs to the socket that made it: nobody else may change it, and it goes when that closes. */
export const NFT_TABLE_F_OWNER = 0x2;

export const NFTA_CHAIN_NAME = 3;
export const NFTA_CHAIN_HOOK = 4;
export const NFTA_CHAIN_POLICY = 5;
export const NFTA_CHAIN_TYPE = 7;
export const NFTA_HOOK_HOOKNUM = 1;
export const NFTA_HOOK_PRIORITY = 2;
export const NF_INET_FORWARD = 2;
export const NF_INET_LOCAL_OUT = 3;

export const NFTA_RULE_CHAIN = 2;
export const NFTA_RULE_EXPRESSIONS = 4;
export const NFTA_LIST_ELEM = 1;
export const NFTA_EXPR_NAME = 1;
export const NFTA_EXPR_DATA = 2;

export const NFTA_SET_NAME = 2;
export const NFTA_SET_FLAGS = 3;
export const NFTA_SET_KEY_TYPE = 4;
export const NFTA_SET_KEY_LEN = 5;
export const NFTA_SET_ID = 10;
export const NFT_SET_INTERVAL = 0x4;
/** The numbers by which nft knows the types of keys. */
export const NFT_TYPE_IPV4_ADDR = 7;
export const NFT_TYPE_IPV6_ADDR = 8;
export const NFTA_SET_ELEM_LIST_SET = 2;
export const NFTA_SET_ELEM_LIST_ELEMENTS = 3;
export const NFTA_SET_ELEM_KEY = 1;
export const NFTA_SET_ELEM_FLAGS = 3;
export const NFT_SET_ELEM_INTERVAL_END = 0x1;

export const NFTA_OBJ_NAME = 2;
export const NFTA_OBJ_TYPE = 3;
export const NFTA_OBJ_DATA = 4;
export const NFT_OBJECT_COUNTER = 1;

export const NFTA_DATA_VALUE = 1;
export const NFTA_DATA_VERDICT = 2;
export const NFTA_VERDICT_CODE = 1;
export const NFTA_VERDICT_CHAIN = 2;
export const NF_DROP = 0;
export const NF_ACCEPT = 1;
export const NFT_JUMP = -3;
export const NFT_RETURN = -5;

export const NFT_REG_VERDICT = 0;
export const NFT_REG_1 = 1;

export const NFTA_IMMEDIATE_DREG = 1;
export const NFTA_IMMEDIATE_DATA = 2;
export const NFTA_META_DREG = 1;
export const NFTA_META_KEY = 2;
export const NFT_META_MARK = 3;
export const NFT_META_OIFNAME = 7;
export const NFT_META_NFPROTO = 15;
export const NFT_META_L4PROTO = 16;
export const NFTA_CMP_SREG = 1;
export const NFTA_CMP_OP = 2;
export const NFTA_CMP_DATA = 3;
export const NFT_CMP_EQ = 0;
export const NFT_CMP_NEQ = 1;
export const NFT_CMP_LTE = 3;
export const NFT_CMP_GTE = 5;
export const NFTA_PAYLOAD_DREG = 1;
export const NFTA_PAYLOAD_BASE = 2;
export const NFTA_PAYLOAD_OFFSET = 3;
export const NFTA_PAYLOAD_LEN = 4;
export const NFT_PAYLOAD_NETWORK_HEADER = 1;
export const NFT_PAYLOAD_TRANSPORT_HEADER = 2;
export const NFTA_FIB_DREG = 1;
export const NFTA_FIB_RESULT = 2;
export const NFTA_FIB_FLAGS = 3;
export const NFT_FIB_RESULT_ADDRTYPE = 3;
export const NFTA_FIB_F_DADDR = 0x2;
export const NFTA_LOOKUP_SET = 1;
export const NFTA_LOOKUP_SREG = 2;
export const NFTA_OBJREF_IMM_TYPE = 1;
export const NFTA_OBJREF_IMM_NAME = 2;

export const NFTA_GEN_ID = 1;
